"""Simulate the theory behind DirectPred: when a predictor keeps networks from collapse.

Tian, Chen & Ganguli 2021, arXiv:2102.06810: linear networks W (features), Wp (predictor) and Wa
(target), trained on data of covariance I whose views differ by noise of variance `noise`. Once Wp
and F = W W^T share their eigenvectors, each direction lives by itself:

    dp/dt = alpha s (tau - (1 + noise) p) - eta p        p: eigenvalue of Wp
    ds/dt = 2 p s (tau - (1 + noise) p) - 2 eta s        s: eigenvalue of F
    dtau/dt = beta (1 - tau) - tau (ds/dt) / (2 s)       tau = Wa / W; 1 without a moving average

with the predictor's rate alpha, weight decay eta and the target's rate beta. Draws six figures and
prints the numbers behind them as one JSON object, in about ten seconds.

    python examples/directpred_dynamics.py --out runs/directpred-dynamics
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

DT = 0.01
EVERY = 10  # steps from one kept point to the next
NO_AVERAGE = float("inf")
BLUE, RED, GREY = "#1b6ca8", "#c8553d", "#8a8a8a"
# What the figures start from: (p, s) of collapse, of escape, and of escape that a large s brings.
STARTS = [(0.02, 0.0004), (0.07, 0.0049), (0.02, 0.05)]
DECAYS = [0.0, 0.01, 0.05, 0.1, 0.15, 0.16, 0.17, 0.2, 0.3]
TARGET_RATES = [NO_AVERAGE, 10.0, 1.0, 0.3, 0.1, 0.03, 0.01]
PREDICTOR_RATES = [0.3, 1.0, 3.0, 10.0, 30.0]


@dataclass(frozen=True)
class Rates:
    """The constants of the dynamics; all but `noise` may be arrays, with one entry a trajectory."""

    alpha: Any = 1.0
    eta: Any = 0.05
    beta: Any = NO_AVERAGE
    noise: float = 0.5

    def fixed_points(self):
        """Return p- (unstable) and p+ (stable) at tau = 1; NaN where only p = 0 is left."""
        spread = 1 + self.noise
        with np.errstate(invalid="ignore"):
            root = np.sqrt(1 - 4 * np.asarray(self.eta) * spread)
        return (1 - root) / (2 * spread), (1 + root) / (2 * spread)

    def critical_decay(self):
        """Return the weight decay beyond which everything collapses."""
        return 1 / (4 * (1 + self.noise))


@dataclass(frozen=True)
class Run:
    """Trajectories: times [T]; p, s and tau [T, N]."""

    times: np.ndarray
    p: np.ndarray
    s: np.ndarray
    tau: np.ndarray

    def time_to(self, p):
        """Return when each trajectory first has this p, [N]; NaN for those that never do."""
        reached = self.p >= p
        return np.where(reached.any(0), self.times[reached.argmax(0)], np.nan)


def integrate(derivative, state, duration):
    """Integrate by the classical Runge-Kutta method of order four; keep every `EVERY`-th state."""
    kept = [state]
    for step in range(1, round(duration / DT) + 1):
        k1 = derivative(state)
        k2 = derivative(state + DT / 2 * k1)
        k3 = derivative(state + DT / 2 * k2)
        k4 = derivative(state + DT * k3)
        state = state + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if step % EVERY == 0:
            kept.append(state)
    return DT * EVERY * np.arange(len(kept)), np.array(kept)


def simulate(cases, duration):
    """Follow the directions of all cases, by name: start p, start s and rates; return their runs.

    It integrates (p, w, a) with s = w^2 and tau = a / w, since tau grows beyond all bounds when s
    vanishes before the target does. A target that averages starts at tau = 0. All cases go
    together, as a step costs the same for one as for many.
    """
    rows = {name: _rows(*case) for name, case in cases.items()}
    p, w, alpha, eta, beta, spread = np.concatenate(list(rows.values()), axis=1)
    tracks = np.isinf(beta).astype(float)
    beta = np.where(tracks, 0.0, beta)

    def derivative(state):
        p, w, a = state
        error = a - spread * p * w
        moved = p * error - eta * w
        return np.array([alpha * w * error - eta * p, moved, beta * (w - a) + tracks * moved])

    times, states = integrate(derivative, np.array([p, w, tracks * w]), duration)
    p, w, a = states.transpose(1, 0, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = np.array([p, w**2, a / w])
    ends = np.cumsum([row.shape[1] for row in rows.values()])[:-1]
    parts = np.split(whole, ends, axis=2)
    return {name: Run(times, *part) for name, part in zip(rows, parts, strict=True)}


def _rows(p0, s0, rates):
    fields = (p0, np.sqrt(s0), rates.alpha, rates.eta, rates.beta, 1 + rates.noise)
    return np.array(np.broadcast_arrays(*(np.atleast_1d(field) for field in fields)), dtype=float)


def coupled(state, rates):
    """Return d/dt of the matrices (Wp, W) for X = I, X' = noise I and Wa = W."""
    predictor, features = state
    error = features - (1 + rates.noise) * predictor @ features
    moved = rates.alpha * error @ features.T - rates.eta * predictor
    return np.array([moved, predictor.T @ error - rates.eta * features])


def simulate_matrices(rates, duration, dim=4, seed=0):
    """Follow Wp and W, square, from a symmetric Wp and a W of small noise; [T] and [T, 2, d, d]."""
    random = np.random.default_rng(seed)
    predictor = random.normal(size=(dim, dim)) / 20
    features = 0.3 * np.linalg.qr(random.normal(size=(dim, dim)))[0]
    features += random.normal(size=(dim, dim)) / 20
    start = np.array([(predictor + predictor.T) / 2 + 0.2 * np.eye(dim), features])
    return integrate(lambda state: coupled(state, rates), start, duration)


def invariant_error(run, rates):
    """Return the largest violation of s = p^2 / alpha + c exp(-2 eta t)."""
    rest = run.s - run.p**2 / rates.alpha
    fades = np.exp(-2 * np.multiply.outer(run.times, np.atleast_1d(rates.eta)))
    return float(np.abs(rest - rest[0] * fades).max())


def matrix_invariant_error(times, states, rates):
    """Return the largest violation of W W^T = Wp^T Wp / alpha + C exp(-2 eta t)."""
    predictor, features = states[:, 0], states[:, 1]
    rest = features @ features.mT - predictor.mT @ predictor / rates.alpha
    fades = np.exp(-2 * rates.eta * times)[:, None, None]
    return float(np.abs(rest - rest[0] * fades).max())


def commutators(states):
    """Return the norm of Wp F - F Wp at each time, [T]; 0 when they share their eigenvectors."""
    predictor, features = states[:, 0], states[:, 1]
    correlation = features @ features.mT
    return np.linalg.norm(predictor @ correlation - correlation @ predictor, axis=(1, 2))


def all_cases():
    """Return what each figure simulates."""
    p, s = np.array(STARTS).T
    return {
        "trajectories": (p, s, Rates()),
        "weight decay": (0.3, 0.09, Rates(eta=np.array(DECAYS))),
        "target rate": (0.2, 0.04, Rates(beta=np.array(TARGET_RATES))),
        "predictor rate": (0.05, 0.01, Rates(alpha=np.array(PREDICTOR_RATES))),
    }


def numbers(runs, times, states):
    """Return what the figures show, as numbers; lists are in the order of the constants above."""
    low, high = Rates().fixed_points()
    delays = runs["target rate"].time_to(0.9 * high)
    return {
        "p_minus": low,
        "p_plus": high,
        "s_plus": high**2,
        "critical_weight_decay": Rates().critical_decay(),
        "ends": {name: {"p": list(r.p[-1]), "s": list(r.s[-1])} for name, r in runs.items()},
        "weight_decays": DECAYS,
        "target_rates": [None if np.isinf(beta) else beta for beta in TARGET_RATES],
        "time_to_90_percent": [None if np.isnan(delay) else delay for delay in delays],
        "predictor_rates": PREDICTOR_RATES,
        "commutator": {"start": commutators(states)[0], "end": commutators(states)[-1]},
        "eigenvalues_of_predictor": sorted(np.linalg.eigvals(states[-1, 0]).real),
        "invariant_error": matrix_invariant_error(times, states, Rates()),
    }


def shades(count):
    """Return so many colours from dark to bright."""
    return pyplot.get_cmap("viridis")(np.linspace(0, 0.9, count))


def panel(title, xlabel, ylabel):
    """Return a figure with one empty panel."""
    figure, axis = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    return figure, axis


def draw_family(run, names, title, scale):
    """Draw p(t), one line a trajectory."""
    figure, axis = panel(title, "time", "p")
    for name, p, color in zip(names, run.p.T, shades(len(names)), strict=True):
        axis.plot(run.times[1:], p[1:], color=color, label=name)
    for value, name in zip(Rates().fixed_points(), ("$p_-$", "$p_+$"), strict=True):
        axis.axhline(value, color=GREY, linestyle="--", linewidth=1)
        axis.annotate(name, (1.01, value), xycoords=("axes fraction", "data"), color=GREY)
    axis.set(xscale=scale, xlim=(run.times[1], 60 if scale == "linear" else run.times[-1]))
    figure.legend(loc="outside right center", frameon=False)
    return figure


def draw_phase(run):
    """Draw the flow in (p, s), the fixed points, and the parabola that weight decay leads to."""
    rates = Rates()
    figure, axis = panel("Flow of predictor and features", "p", "s")
    p, s = np.meshgrid(np.linspace(-0.4, 0.9, 40), np.linspace(0, 0.6, 40))
    pull = 1 - (1 + rates.noise) * p
    dp, ds = rates.alpha * s * pull - rates.eta * p, 2 * p * s * pull - 2 * rates.eta * s
    axis.streamplot(p, s, dp, ds, color="#c9d3dc", density=1.2, linewidth=0.8, arrowsize=0.8)
    curve = np.linspace(-0.4, 0.78, 100)
    axis.plot(curve, curve**2 / rates.alpha, color=GREY, linewidth=1, label=r"$s = p^2 / \alpha$")
    for path_p, path_s, color in zip(run.p.T, run.s.T, shades(len(STARTS)), strict=True):
        axis.plot(path_p, path_s, color=color, linewidth=2)
    low, high = rates.fixed_points()
    axis.plot([0, high], [0, high**2], "o", color="black", label="stable", clip_on=False)
    axis.plot(low, low**2, "o", color="black", mfc="white", label="$p_-$, unstable", zorder=3)
    axis.set(xlim=(-0.4, 0.9), ylim=(0, 0.6))
    axis.legend(loc="upper left")
    return figure


def draw_weight_decay(run):
    """Draw the fixed points over the weight decay, and where trajectories ended."""
    figure, axis = panel("Too much weight decay leaves collapse alone", r"weight decay $\eta$", "p")
    eta = np.linspace(0, Rates().critical_decay(), 200)
    low, high = Rates(eta=eta).fixed_points()
    axis.plot(eta, high, color=BLUE, label="$p_+$, stable")
    axis.plot(eta, low, color=BLUE, linestyle="--", label="$p_-$, unstable")
    axis.plot([0, max(DECAYS)], [0, 0], color=RED, label="p = 0, stable", clip_on=False)
    axis.axvline(eta[-1], color=GREY, linewidth=1)
    axis.annotate(r" $\eta_{crit}$ = 1/6", (eta[-1], 0.2), color=GREY)
    axis.plot(DECAYS, run.p[-1], "o", color="black", label="simulated, t = 400", clip_on=False)
    axis.set(xlim=(0, max(DECAYS)), ylim=(0, 0.7))
    axis.legend(frameon=False, loc="upper right")
    return figure


def draw_commutator(times, states):
    """Draw how Wp and F come to share their eigenvectors, and then their eigenvalues."""
    figure, axis = panel("Eigenvectors align before eigenvalues settle", "time", "norm")
    axis.semilogy(times, commutators(states), color=BLUE, label="$|W_p F - F W_p|$")
    _, high = Rates().fixed_points()
    apart = np.abs(np.linalg.eigvals(states[:, 0]) - high).max(axis=1)
    axis.semilogy(times, apart, color=RED, label="$\\max_j |p_j - p_+|$")
    axis.legend(frameon=False, loc="lower left")
    return figure


def draw(runs, times, states):
    """Return every figure by name."""
    starts = [f"$p_0$ = {p:g}, $s_0$ = {s:g}" for p, s in STARTS]
    betas = ["no average", *(rf"$\beta$ = {beta:g}" for beta in TARGET_RATES[1:])]
    alphas = [rf"$\alpha$ = {alpha:g}" for alpha in PREDICTOR_RATES]
    paths, delayed, sped = (runs[n] for n in ("trajectories", "target rate", "predictor rate"))
    return {
        "trajectories": draw_family(paths, starts, "Which starts escape collapse", "linear"),
        "phase": draw_phase(paths),
        "weight_decay": draw_weight_decay(runs["weight decay"]),
        "target_rate": draw_family(delayed, betas, "A slow target delays", "log"),
        "predictor_rate": draw_family(sped, alphas, "A fast predictor escapes", "log"),
        "commutator": draw_commutator(times, states),
    }


def main():
    """Simulate, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/directpred-dynamics"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    runs = simulate(all_cases(), 400)
    times, states = simulate_matrices(Rates(), 60)
    for name, figure in draw(runs, times, states).items():
        figure.savefig(out / f"{name}.png", dpi=150)
    text = json.dumps(numbers(runs, times, states), indent=2)
    (out / "numbers.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
