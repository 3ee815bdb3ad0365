"""Files as other codes write them, made of our own networks: the same nesting, the same names.

Each function takes an encoder's state dict and returns what the code gives to torch.save.
"""

import argparse
import re
from collections import OrderedDict

import numpy as np
import torch

HEAD = torch.ones(2, 2)


def below(prefix, state):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def other(state):
    """Return another network of the same names, such as a moving average."""
    return OrderedDict((name, torch.zeros_like(tensor)) for name, tensor in state.items())


def optimizer():
    """Return what an optimiser leaves: its moments under numbers, its groups."""
    return {"state": {0: {"momentum_buffer": HEAD}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def torchvision(state):  # torchvision.models.resnet50().state_dict()
    return OrderedDict(**state, **{"fc.weight": HEAD, "fc.bias": HEAD})


def moco(state):  # facebookresearch/moco, main_moco.py and builder.py
    names = below("module.encoder_q.", state) | below("module.encoder_k.", other(state))
    heads = {f"module.encoder_{x}.fc.{n}.weight": HEAD for x in "qk" for n in (0, 2)}
    memory = {"module.queue": HEAD, "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    weights = OrderedDict(names | heads | memory)
    return {"epoch": 800, "arch": "resnet50", "state_dict": weights, "optimizer": optimizer()}


def moco_v3(state):  # facebookresearch/moco-v3, main_moco.py and moco/builder.py
    head = "head" if "cls_token" in state else "fc"
    names = below("module.base_encoder.", state) | below("module.momentum_encoder.", other(state))
    names |= {f"module.base_encoder.{head}.0.weight": HEAD, "module.predictor.0.weight": HEAD}
    scaler = {"scale": 1.0, "growth_factor": 2.0}
    return {
        "epoch": 300, "arch": "vit_small", "state_dict": OrderedDict(names),
        "optimizer": optimizer(), "scaler": scaler,
    }  # fmt: skip


def simsiam(state):  # facebookresearch/simsiam, main_simsiam.py and simsiam/builder.py
    names = below("module.encoder.", state)
    names |= {"module.encoder.fc.0.weight": HEAD, "module.encoder.fc.1.running_mean": HEAD}
    names |= {"module.predictor.0.weight": HEAD}
    return {"epoch": 100, "arch": "resnet50", "state_dict": names, "optimizer": optimizer()}


def swav(state):  # facebookresearch/swav, main_swav.py and src/resnet50.py; the released file
    heads = {"module.projection_head.0.weight": HEAD, "module.prototypes.weight": HEAD}
    return OrderedDict(below("module.", state) | heads)


def dino(state):  # facebookresearch/dino, main_dino.py and utils.MultiCropWrapper
    student = below("module.backbone.", other(state)) | {"module.head.mlp.0.weight": HEAD}
    teacher = below("backbone.", state) | {"head.mlp.0.weight": HEAD}
    args = argparse.Namespace(arch="vit_small", patch_size=16, lr=np.float64(5e-4))
    return {
        "student": OrderedDict(student), "teacher": OrderedDict(teacher),
        "optimizer": optimizer(), "epoch": 100, "args": args,
        "dino_loss": OrderedDict(center=HEAD), "fp16_scaler": {"scale": 1.0},
    }  # fmt: skip


def supcontrast(state):  # HobbitLong/SupContrast, util.save_model and networks/resnet_big.py
    state = {name.replace("downsample.", "shortcut."): x for name, x in state.items()}
    names = below("encoder.module.", state) | {"head.0.weight": HEAD, "head.2.weight": HEAD}
    opt = argparse.Namespace(model="resnet50", lr_decay_epochs=[700], warm=True)
    return {"opt": opt, "model": OrderedDict(names), "optimizer": optimizer(), "epoch": 1000}


def lightly(state):  # lightly-ai/lightly: nn.Sequential(*list(torchvision's.children())[:-1])
    numbers = {"conv1": "0", "bn1": "1"} | {f"layer{n}": f"{n + 3}" for n in range(1, 5)}
    state = {re.sub(r"^\w+", lambda m: numbers[m[0]], name): x for name, x in state.items()}
    names = below("backbone.", state) | below("backbone_momentum.", other(state))
    names |= {"projection_head.layers.0.weight": HEAD}
    return {
        "epoch": 100, "global_step": 1, "pytorch-lightning_version": "2.0", "loops": {},
        "state_dict": OrderedDict(names), "optimizer_states": [optimizer()], "hyper_parameters": {},
    }  # fmt: skip


def solo_learn(state):  # vturrisi/solo-learn, solo/methods/base.py: a Lightning module
    names = below("backbone.", state) | below("momentum_backbone.", other(state))
    names |= {"classifier.weight": HEAD, "projector.0.weight": HEAD}
    return {"epoch": 999, "state_dict": OrderedDict(names), "hyper_parameters": {"max_epochs": 9}}


def vissl(state):  # facebookresearch/vissl, utils/checkpoint.py and models/trunks/resnext.py
    trunk = below("_feature_blocks.", state)
    heads = OrderedDict({"0.clf.0.weight": HEAD})
    model = {"model": {"trunk": trunk, "heads": heads}, "loss": {}, "meters": {"x": np.float64(1)}}
    return {"phase_idx": 1, "classy_state_dict": {"base_model": model}, "iteration": 5}


def jem(state):  # wgrathwohl/JEM, train_wrn_ebm.py and wideresnet.py
    state = {re.sub(r"(\.shortcut)\.", r"\1.0.", name): x for name, x in state.items()}
    names = below("f.", state) | {"f.linear.weight": HEAD, "f.linear.bias": HEAD}
    names |= {"energy_output.weight": HEAD, "class_output.weight": HEAD}
    return {"model_state_dict": OrderedDict(names), "replay_buffer": torch.zeros(4, 3, 4, 4)}
