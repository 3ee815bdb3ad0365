"""Methods of the user's own: a class in a file, named as "path/to/file.py:Class".

The file runs only when the person has named it, see `methods.trust`.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from sslcli.config.methods.registry import is_custom
from sslcli.config.schema import Config
from sslcli.config.section import MethodSection
from sslcli.errors import ConfigError
from sslcli.methods.base import Method
from sslcli.methods.trust import name_file, read_code, sha256_of

WHERE = "method.name"


_named: dict[str, Path] = {}  # by class: the path that this command line gives


def name_code(reference: str) -> None:
    """Let the file of a class run, since the person names it; configs that name the class get it.

    Raises:
        ConfigError: If the file cannot be read.
    """
    path, _, name = reference.rpartition(":")
    name_file(Path(path))
    _named[name] = Path(path)


def load_class(reference: str) -> type[Method]:
    """Import the class that a reference such as "mine/vicreg.py:VICReg" names.

    Raises:
        ConfigError: If nobody has named the file, the file or the class is not there, the file
            fails, or the class is no method with a `Section`.
    """
    path, name = _place(reference)
    found = getattr(_module(path, name), name, None)
    if found is None:
        raise ConfigError(f"{path} has no class {name}", WHERE, "write path/to/file.py:Class")
    if not (isinstance(found, type) and issubclass(found, Method)):
        hint = "derive it from sslcli.methods.base.Method"
        raise ConfigError(f"{reference} is no method", WHERE, hint)
    section = getattr(found, "Section", None)
    if not (isinstance(section, type) and issubclass(section, MethodSection)):
        hint = "give the class a Section, derived from sslcli.config.section.MethodSection"
        raise ConfigError(f"{reference} does not say which fields it has", WHERE, hint)
    return found


def code_facts(config: Config) -> dict[str, Any]:
    """Return checksum and path of the code of a custom method; empty for the package's own."""
    if not is_custom(config.method.name):
        return {}
    path, _ = _place(config.method.name)
    return {"code": {"file": str(path.absolute()), "sha256": sha256_of(path)}}


def _place(reference: str) -> tuple[Path, str]:
    path, _, name = reference.rpartition(":")
    return _named.get(name, Path(path)), name


def _module(path: Path, name: str) -> ModuleType:
    known = f"sslcli_custom.{path.resolve()}"  # one module a file
    if known in sys.modules:
        return sys.modules[known]
    code = read_code(path, f"{path}:{name}")
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    try:
        exec(compile(code, path, "exec"), module.__dict__)  # these bytes, not a .pyc
    except Exception as error:  # whatever the user's code raises
        del sys.modules[known]
        what = f"{path} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(what, WHERE, "run it with python to see where") from error
    return module


def completed(config: Config) -> Config:
    """Return the config with every field of a custom method, so that a run keeps them.

    Raises:
        ConfigError: With every field that is wrong.
    """
    if not is_custom(config.method.name):
        return config
    summary = str(load_class(config.method.name).__doc__).split("\n")[0]
    about = {"summary": summary, "measured": ""}  # the preset's section is of another method
    section = section_of(config).model_dump()
    return Config.model_validate({**config.model_dump(), "method": section, "about": about})


def section_of(config: Config) -> MethodSection:
    """Return the config's method section, of a custom method as its own `Section`.

    Raises:
        ConfigError: With every field that is wrong, or if views or batch do not suit the method.
    """
    if not is_custom(config.method.name):
        return config.method
    own: type[MethodSection] = load_class(config.method.name).Section  # type: ignore[attr-defined]
    try:
        section = own.model_validate(config.method.model_dump())
        config.model_copy(update={"method": section}).check_method()
    except ValidationError as error:
        faults = [_fault(item["loc"], item["msg"]) for item in error.errors(include_url=False)]
        first, *others = faults
        raise ConfigError(first.what, first.where, first.hint, others=others) from error
    except ValueError as error:
        raise ConfigError(str(error), config.method.name) from error
    return section


def _fault(location: tuple[int | str, ...], message: str) -> ConfigError:
    field = ".".join(["method", *map(str, location)])
    return ConfigError(f"{field}: {message[:1].lower()}{message[1:]}", f"field {field}")
