"""The rules of the house, read off the syntax trees. `breaches(root)` names every line that breaks one.

    imports     go one way: domain < wire < {store, live, topics} < dispatch < notify < web < demo < cli < __main__;
                store, live and topics do not know each other; errors, config, metrics, i18n and resources are leaves
    pure        domain and wire have no clock, no chance, no loop, no log and no outside world
    state       nothing that changes lives in a module: whoever needs it is handed it
    length      no file that a reader would dread
    docstring   every module says what it is for
    words       one word for each thing, and nothing that is not of the product

A rule is about what can be read off; what cannot (is this name clear?) is for people.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

LAYERS = (
    ("domain",),
    ("wire",),
    ("store", "live", "topics"),
    ("dispatch",),
    ("notify",),
    ("web",),
    ("demo",),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
LEAVES = frozenset({"errors", "config", "metrics", "i18n", "resources"})
LEAF_MAY_IMPORT = {"config": frozenset({"chatd.domain.limits"})}
# The pure layers refuse in the one vocabulary of refusals; every other leaf would bring the outside in.
PURE_MAY_IMPORT_LEAVES = frozenset({"errors"})

PURE = ("domain", "wire")
# fmt: off
IMPURE_MODULES = frozenset({
    "asyncio", "time", "random", "secrets", "uuid", "logging", "socket", "ssl", "select", "threading",
    "multiprocessing", "subprocess", "signal", "tempfile", "os", "sqlite3", "sqlalchemy", "aiosqlite", "starlette",
    "uvicorn", "redis", "urllib.request", "http.client",
})
# fmt: on
IMPURE_CALLS = frozenset({"now", "utcnow", "today"})
# It writes files for the browser when a person runs it; nothing imports it.
PURE_EXCEPT = frozenset({"chatd/wire/generate.py"})

# fmt: off
MUTABLE_CALLS = frozenset({
    "list", "dict", "set", "bytearray", "defaultdict", "OrderedDict", "deque", "WeakSet", "WeakKeyDictionary",
    "WeakValueDictionary", "count", "Random", "Lock", "RLock", "Event", "Condition", "Semaphore", "Queue", "Thread",
    "ThreadPoolExecutor", "Starlette", "Redis", "create_engine", "Metrics",
})
MUTATORS = frozenset({
    "append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "remove",
    "discard", "clear", "sort", "reverse",
})
# fmt: on

LINES_MAX = 450
MEASURED = (".py", ".js", ".css", ".html")
GENERATED = frozenset({"static/wire.js"})

# Marks of unfinished work, places on somebody's machine, hosts that packages come from. (Written so as to miss itself.)
FORBIDDEN_WORDS = re.compile(
    r"\bTO[D]O\b|\bFIX[M]E\b|\bXX[X]\b|/wor[k]/|/hom[e]/[a-z]|/tmp/[a-z]+/[a-z]|\b[i]ssue #?\d"
    r"|py[p]i\.org|python[h]osted|npm[j]s\.(?:org|com)|deb\.[d]ebian"
)
# One word for each thing, that of the README's list. What stands here is some other system's word for it.
FOREIGN_NAMES = MappingProxyType(
    {
        "user": "customer, member or staff",
        "users": "customers, members or staff",
        "tenant": "shop",
        "attachment": "part",
    }
)

WORDS_IN = (
    ".py",
    ".js",
    ".css",
    ".html",
    ".md",
    ".json",
    ".toml",
    ".sh",
    ".txt",
    ".svg",
    ".yml",
    ".yaml",
    ".cfg",
    ".ini",
    "",
)
SKIPPED = frozenset({"var", "build", "dist", "node_modules", "__pycache__"})


def breaches(root: Path) -> list[str]:
    """Every breach under this root, as `file:line: what is wrong and what to do`, in the order of the files."""
    found: list[str] = []
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        if path.suffix not in WORDS_IN or path.stat().st_size > 1_000_000:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += _length(name, text)
        found += _words(name, text)
        if path.suffix == ".py":
            tree = ast.parse(text, filename=name)
            found += _docstring(name, tree)
            if name.startswith("chatd/"):
                found += [*_imports(name, tree), *_pure(name, tree), *_state(name, tree), *_names(name, tree)]
    return list(dict.fromkeys(found))  # a function in a function is looked at twice


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in SKIPPED and (name == ".ci" or not name.startswith("."))
        )
        # In a linked worktree `.git` is a file, which says where the repository is.
        yield from (Path(folder) / name for name in sorted(files) if name != ".git")


def _part(name: str) -> str:
    """`chatd/store/log.py` and `chatd/store.py` are both of the part `store`."""
    return name.split("/")[1].removesuffix(".py")


# ---------------------------------------------------------------- imports


def _imported(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module of ours that is imported anywhere in the file, in functions and for type checkers too."""
    package = name.removesuffix(".py").removesuffix("/__init__").split("/")
    if not name.endswith("/__init__.py"):
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from chatd import store` names a part; `from chatd.errors import NotFound` names a thing inside one.
            yield from ((node.lineno, f"{base}.{alias.name}" if base == "chatd" else base) for alias in node.names)


def _imports(name: str, tree: ast.Module) -> Iterator[str]:
    importer = _part(name)
    for line, module in dict.fromkeys(_imported(name, tree)):
        if module != "chatd" and not module.startswith("chatd."):
            continue
        imported = module.split(".")[1] if "." in module else "chatd"
        if imported in (importer, "chatd", "__init__", "__version__") or importer == "__init__":
            continue
        place = f"{name}:{line}"
        if importer in LEAVES:
            if not any(module.startswith(allowed) for allowed in LEAF_MAY_IMPORT.get(importer, ())):
                yield f"{place}: {importer} is a leaf and imports {module}; a leaf knows nothing of the house"
        elif importer not in RANK:
            yield f"{place}: {importer} is no part of the house; put it into a layer or name it among the leaves"
        elif imported in LEAVES:
            if importer in PURE and imported not in PURE_MAY_IMPORT_LEAVES:
                yield f"{place}: {importer} imports {module}; the pure layers are handed what they need"
        elif imported not in RANK:
            yield f"{place}: {module} is no part of the house"
        elif RANK[imported] == RANK[importer]:
            yield f"{place}: {importer} imports {module}; they stand side by side and do not know each other"
        elif RANK[imported] > RANK[importer]:
            yield f"{place}: {importer} imports {module}; imports go down only, {importer} stands below {imported}"


# ---------------------------------------------------------------- purity


def _pure(name: str, tree: ast.Module) -> Iterator[str]:
    if _part(name) not in PURE or name in PURE_EXCEPT:
        return
    for line, module in dict.fromkeys(_imported(name, tree)):
        if module in IMPURE_MODULES or module.split(".")[0] in IMPURE_MODULES:
            yield f"{name}:{line}: imports {module}; {_part(name)} is pure, the caller hands in what it needs"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_CALLS and not node.args:
                yield f"{name}:{node.lineno}: asks a clock ({node.func.attr}); the time is handed in"
            if isinstance(node.func, ast.Name) and node.func.id in ("open", "input", "print"):
                yield f"{name}:{node.lineno}: calls {node.func.id}; {_part(name)} has no outside world"


# ---------------------------------------------------------------- state


def _state(name: str, tree: ast.Module) -> Iterator[str]:
    mutable: dict[str, int] = {}  # name, and the line that makes it
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if isinstance(statement.value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
                mutable.update(dict.fromkeys(names, statement.lineno))
            elif isinstance(statement.value, ast.Call) and (made := _last(statement.value.func)) in MUTABLE_CALLS:
                yield f"{name}:{statement.lineno}: {made} made in a module is shared; make it in web/app.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _changes(name, node, mutable)


def _changes(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, mutable: dict[str, int]) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Name | ast.Attribute) and _last(decorator) == "cache":
            yield f"{name}:{decorator.lineno}: functools.cache has no bound; use lru_cache(maxsize=…)"
    for inner in ast.walk(node):
        place = f"{name}:{getattr(inner, 'lineno', node.lineno)}"
        if isinstance(inner, ast.Global):
            yield f"{place}: global {', '.join(inner.names)}; state belongs to an object"
        for changed in _changed_names(inner):
            if changed in mutable:
                yield f"{place}: changes {changed}, made in the module in line {mutable[changed]}"


def _changed_names(node: ast.AST) -> Iterator[str]:
    """Names whose object this very node changes: `x[0] = 1`, `x += …`, `del x[0]`, `x.append(…)`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
        if isinstance(node.target, ast.Name):
            yield node.target.id
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MUTATORS
        and isinstance(node.func.value, ast.Name)
    ):
        yield node.func.value.id
    for target in targets:
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            yield target.value.id


def _last(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


# ---------------------------------------------------------------- form


def _length(name: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if name.endswith(MEASURED) and name not in GENERATED and lines > LINES_MAX:
        yield f"{name}:{LINES_MAX}: {lines} lines; above {LINES_MAX} a file is split by role"


def _docstring(name: str, tree: ast.Module) -> Iterator[str]:
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{name}:1: no docstring; say what the module is for, promises and leaves to others"


def _names(name: str, tree: ast.Module) -> Iterator[str]:
    """Names that are given here; those of libraries are what they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.name
        elif isinstance(node, ast.arg):
            given = node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given = node.id
        else:
            continue
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", given):
            if better := FOREIGN_NAMES.get(word.lower()):
                yield f"{name}:{node.lineno}: {given} is another system's word; here it is {better}"


def _words(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if match := FORBIDDEN_WORDS.search(line):
            yield f"{name}:{number}: {match.group(0)!r} does not belong into the product"
