"""Finds values that stand unquoted in what a shell is to run, by the syntax trees of the project.

A value is fine in a command where it is a literal, a module's constant, a number (`{port:d}`), what
a quoting function made of it, or what the project's own functions make of such values. A parameter
that goes unquoted into a command makes each call of that function such a place.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("deeprig", "deeprig_cli", "tasks", "tests/host", "fast_ssh")

QUOTING = {
    "shlex.quote", "shlex.join", "pyinfra.api.command.QuoteString",
    "base64.b64encode",  # letters, digits, + / and =
}  # fmt: skip
# Digits alone, hexadecimal ones among them.
NUMBERS = {"int", "len", "float", "round", "sum", "abs", "bool", "number", "token_hex", "hexdigest"}
SAME = {
    "str", "sorted", "list", "tuple", "reversed", "set", "frozenset", "dict", "zip", "enumerate",
    "min", "max", "filter",
}  # fmt: skip
OF_A_STRING = {
    "strip", "lstrip", "rstrip", "replace", "removeprefix", "removesuffix", "format", "join",
    "lower", "upper", "split", "splitlines", "partition", "rpartition", "read_text", "encode",
    "decode", "items", "values", "keys", "fromkeys", "get", "title", "with_name", "with_suffix",
}  # fmt: skip
COMMANDS = {"StringCommand", "FunctionCommand"}
STEPS = {"FunctionCommand", "Step"}  # a function's arguments reach no shell
RUN_BY_CHECKS = {"run": 0, "check_output": 0, "run_test": 0, "run_expect": 1}
SHELLS = ("sh", "bash", "/bin/sh", "python3")
# What takes a command and hands it to something that this file does not see.
KNOWN = {
    "deeprig.ssh.openssh.command": ("remote",),
    "deeprig.ssh.ssh_config.users_own_ssh": ("command",),
    "deeprig.ssh.root_shell.run_as_root": ("script",),
    "fast_ssh.login_shell.for_any": ("script",),
}
# Its fields are code, which is looked at where one is made.
CODE = "deeprig.operations.footprint.Footprint"
# Tables of our own.
TABLES = {"deeprig.catalog.load"}

Origin = tuple[str, str, int, str]  # kind (param or value), whose or where, line, its text


@dataclass(eq=False)
class Function:
    """A function, method or, as its own function, the body of a module."""

    name: str
    module: "Module"
    node: ast.AST
    owner: str = ""
    parent: "Function | None" = None
    assigned: dict[str, list[ast.expr]] = field(default_factory=dict)
    inner: dict[str, "Function"] = field(default_factory=dict)
    # Parameter -> why it must come quoted.
    sinks: set[str] = field(default_factory=set)

    @property
    def arguments(self) -> ast.arguments | None:
        return getattr(self.node, "args", None)

    def parameters(self) -> list[str]:
        """Those that may be given by position, without self."""
        if self.arguments is None:
            return []
        names = [a.arg for a in [*self.arguments.posonlyargs, *self.arguments.args]]
        return names[1:] if self.owner and names[:1] in (["self"], ["cls"]) else names

    def annotation(self, name: str) -> str:
        if self.arguments is None:
            return ""
        every = [*self.arguments.posonlyargs, *self.arguments.args, *self.arguments.kwonlyargs]
        found = next((a for a in every if a.arg == name), None)
        return ast.unparse(found.annotation) if found and found.annotation else ""

    def has(self, name: str) -> bool:
        if self.arguments is None:
            return False
        more = [a.arg for a in (self.arguments.vararg, self.arguments.kwarg) if a]
        every = [*self.arguments.posonlyargs, *self.arguments.args, *self.arguments.kwonlyargs]
        return name in more or any(a.arg == name for a in every)

    def given(self, call: ast.Call, name: str) -> list[ast.expr]:
        """What a call gives for this parameter."""
        assert self.arguments is not None
        found = [k.value for k in call.keywords if k.arg == name]
        places = self.parameters()
        plain = [a for a in call.args if not isinstance(a, ast.Starred)]
        stars = [a.value for a in call.args if isinstance(a, ast.Starred)]
        if name in places and places.index(name) < len(plain) and not stars:
            found.append(plain[places.index(name)])
        if stars or (self.arguments.vararg and self.arguments.vararg.arg == name):
            found += [*plain[len(places) :], *stars] if not stars else [*plain, *stars]
        if self.arguments.kwarg is None:  # else they are the values of a template
            found += [k.value for k in call.keywords if k.arg is None]
        return found

    @property
    def is_pytests(self) -> bool:
        """Whether pytest calls it, with fixtures and parameters."""
        return self.module.name.startswith("tests.") and (
            self.name.startswith("test_") or "fixture" in self.decorators()
        )

    def decorators(self) -> str:
        return " ".join(ast.unparse(d) for d in getattr(self.node, "decorator_list", []))

    def parametrized(self, name: str) -> ast.expr | None:
        """What pytest gives for this parameter by `parametrize`."""
        for decorator in getattr(self.node, "decorator_list", []):
            if isinstance(decorator, ast.Call) and _last(decorator.func) == "parametrize":
                names, values = decorator.args[:2]
                if f"'{name}'" in ast.unparse(names).replace(",", "','").replace(" ", ""):
                    return values
        return None


@dataclass(eq=False)
class Module:
    name: str
    file: str
    tree: ast.Module
    body: Function = field(init=False)
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    methods: dict[tuple[str, str], Function] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)


class Project:
    """All modules, by name; `offences` are sentences."""

    def __init__(self, sources: dict[str, str]) -> None:
        """`sources` is path -> text, such as tasks/users.py."""
        self.modules: dict[str, Module] = {}
        for file, text in sources.items():
            name = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            self.modules[name] = _module(name, file, ast.parse(text))
        self.offences: set[str] = set()
        self._busy: set[tuple[int, str]] = set()

    def every(self) -> Iterator[Function]:
        for module in self.modules.values():
            stack = [module.body, *module.functions.values(), *module.methods.values()]
            while stack:
                function = stack.pop()
                yield function
                stack += function.inner.values()

    def look(self) -> set[str]:
        """Where a value stands unquoted in a command, a sentence each."""
        functions = list(self.every())
        for function in functions:
            function.sinks |= set(KNOWN.get(f"{function.module.name}.{function.name}", ()))
        while True:
            before = sum(len(function.sinks) for function in functions)
            self.offences = set()
            for function in functions:
                for place in self._places(function):
                    self._reach(function, place)
            if sum(len(function.sinks) for function in functions) == before:
                return self.offences

    def _reach(self, function: Function, place: ast.expr) -> None:
        for kind, whose, line, text in self.origins(place, function):
            if kind == "param":
                owner: Function | None = function
                while owner and f"{owner.module.name}.{owner.name}" != whose:
                    owner = owner.parent
                if owner:
                    owner.sinks.add(text)
            else:
                at = f"{function.module.file} line {place.lineno}"
                self.offences.add(f"{whose} line {line}: {text} is unquoted in the command of {at}")

    # --- where a command is made

    def _places(self, function: Function) -> Iterator[ast.expr]:
        """The expressions in this function that become commands."""
        is_command = function.name.endswith(".command") and self._is_fact(function)
        if is_command or "operation(" in function.decorators():
            yield from (n for n in _returned(function) if not isinstance(n, ast.Name))
        for node in _own(function):
            if isinstance(node, (ast.List, ast.Tuple)):
                yield from _after_c(node.elts)
            if isinstance(node, ast.Call):
                yield from self._of_call(function, node)

    def _of_call(self, function: Function, call: ast.Call) -> Iterator[ast.expr]:
        name = _last(call.func)
        if name in STEPS:
            return
        if name == "StringCommand" or self._is_command(function, call.func):
            yield from _words(call.args)
            return
        if name == "exec_command" or (name == "ssh" and isinstance(call.func, ast.Name)):
            yield from call.args[:1]
        elif name == "get_fact" and call.args:
            yield from self._of_fact(function, call)
        elif name in ("run", "Popen", "check_output", "call") and _first(call.func) == "subprocess":
            if any(k.arg == "shell" for k in call.keywords):
                yield from call.args[:1]
        elif self._target(call.func, function) == CODE:
            yield from [*call.args, *(k.value for k in call.keywords if k.arg != "notice")]
        elif found := self.resolve(call.func, function):
            for each in found:
                for parameter in sorted(each.sinks):
                    yield from each.given(call, parameter)
            if name == "run" and "sh -s" in ast.unparse(call):
                yield from (k.value for k in call.keywords if k.arg == "stdin")
        elif name in RUN_BY_CHECKS and function.module.name.startswith("tests.host"):
            command, *more = call.args[RUN_BY_CHECKS[name] :] or [ast.Constant("")]
            yield command
            if isinstance(command, ast.Constant):
                parts = str(command.value).split("%s")
                before = ["-".join(parts[: n + 1]) for n in range(len(parts))]
                yield from (a for text, a in zip(before, more, strict=False) if _opens(text))
        else:
            for each in self._by_method(name):
                for parameter in sorted(each.sinks):
                    yield from each.given(call, parameter)
        if name == "partial" and call.args:
            inner = ast.Call(call.args[0], call.args[1:], call.keywords)
            yield from self._of_call(function, inner)

    def _of_fact(self, function: Function, call: ast.Call) -> Iterator[ast.expr]:
        for fact in self._class(call.args[0], function):
            command = self.method(*fact, "command")
            for parameter in sorted(command.sinks) if command else ():
                yield from (k.value for k in call.keywords if k.arg == parameter)

    def _is_fact(self, function: Function) -> bool:
        return any("Fact" in base for base in self._all_bases(function.module, function.owner))

    def _is_command(self, function: Function, called: ast.expr) -> bool:
        return any(
            COMMANDS & set(self._all_bases(module, name))
            for module, name in self._class(called, function)
        )

    def _by_method(self, name: str) -> list[Function]:
        return [
            method
            for module in self.modules.values()
            for (_, own), method in module.methods.items()
            if own == name and method.sinks and not name.startswith("__")
        ]

    # --- names

    def _all_bases(self, module: Module, name: str) -> list[str]:
        found = list(module.bases.get(name, []))
        for base in list(found):
            for where, own in self._class(ast.Name(base), module.body):
                if (where, own) != (module, name):
                    found += self._all_bases(where, own)
        return found

    def _class(self, node: ast.expr, function: Function) -> list[tuple[Module, str]]:
        target = self._target(node, function)
        where, _, name = target.rpartition(".")
        module = self.modules.get(where)
        return [(module, name)] if module and name in module.bases else []

    def _target(self, node: ast.expr, function: Function) -> str:
        """The dotted name of what an expression names, as far as imports say it."""
        if isinstance(node, ast.Name):
            imports = function.module.imports
            target = imports.get(node.id, f"{function.module.name}.{node.id}")
            return self._offered(target)
        if isinstance(node, ast.Attribute):
            return self._offered(f"{self._target(node.value, function)}.{node.attr}")
        return "?"

    def _offered(self, target: str) -> str:
        """A package may offer what a module of it has."""
        where, _, name = target.rpartition(".")
        package = self.modules.get(where)
        if package and package.file.endswith("/__init__.py"):
            return package.imports.get(name, target)
        return target

    def method(self, module: Module, owner: str, name: str) -> Function | None:
        """A method of a class or of what it derives from."""
        if found := module.methods.get((owner, name)):
            return found
        for base in module.bases.get(owner, []):
            for where, own in self._class(ast.Name(base), module.body):
                if (where, own) != (module, owner) and (found := self.method(where, own, name)):
                    return found
        return None

    def resolve(self, called: ast.expr, function: Function) -> list[Function]:
        """The project's functions that a call means."""
        if isinstance(called, ast.Attribute) and called.attr == "_inner":
            called = called.value  # what is inside one of pyinfra's operations
        if isinstance(called, ast.Name):
            at: Function | None = function
            while at:
                if called.id in at.inner:
                    return [at.inner[called.id]]
                if at.has(called.id):
                    return self._made_by_fixture(called.id, at) if at.is_pytests else []
                at = at.parent
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if called.value.id in ("self", "cls") and function.owner:
                found = self.method(function.module, function.owner, called.attr)
                return [found] if found else []
            if annotation := function.annotation(called.value.id):
                for module, owner in self._class(ast.Name(annotation), function):
                    if found := self.method(module, owner, called.attr):
                        return [found]
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Call):
            for module, owner in self._class(called.value.func, function):
                if found := self.method(module, owner, called.attr):
                    return [found]
        target = self._target(called, function)
        where, _, name = target.rpartition(".")
        if where in self.modules and name in self.modules[where].functions:
            return [self.modules[where].functions[name]]
        for module, owner in (
            self._class(called.value, function) if isinstance(called, ast.Attribute) else ()
        ):
            if found := self.method(module, owner, called.attr):
                return [found]
        return []

    def _made_by_fixture(self, name: str, test: Function) -> list[Function]:
        """The functions that a fixture of this name gives to a test."""
        found = test.module.functions.get(name)
        given = _returned(found) if found else []
        return [
            found.inner[node.id]
            for node in given
            if found and isinstance(node, ast.Name) and node.id in found.inner
        ]

    # --- where a value comes from

    def origins(self, node: ast.expr, function: Function, *, code: bool = False) -> set[Origin]:
        """What of an expression is not known to be fine. `code`: a quoted word is a command too."""
        match node:
            case ast.Constant() | ast.Compare() | ast.Lambda():
                return set()
            case ast.JoinedStr():
                return self._of_text(node, function, code=code)
            case ast.BinOp():
                return self._all([node.left, node.right], function, code=code)
            case ast.UnaryOp():
                return self.origins(node.operand, function, code=code)
            case ast.BoolOp():
                return self._all(node.values, function, code=code)
            case ast.IfExp():
                return self._all([node.body, node.orelse], function, code=code)
            case ast.List() | ast.Tuple() | ast.Set():
                return self._all(node.elts, function, code=code)
            case ast.Dict():
                return self._all([*filter(None, node.keys), *node.values], function, code=code)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self.origins(node.elt, function, code=code)
            case ast.DictComp():
                return self._all([node.key, node.value], function, code=code)
            case ast.Starred() | ast.Subscript() | ast.NamedExpr() | ast.Await():
                return self.origins(node.value, function, code=code)
            case ast.Name():
                return self._of_name(node, function, code=code)
            case ast.Attribute():
                own = _first(node) == "self" and f"{function.module.name}.{function.owner}" == CODE
                return set() if own or _is_constant(node.attr) else {self._value(node, function)}
            case ast.Call():
                return self._from_call(node, function, code=code)
        return {self._value(node, function)}

    def _value(self, node: ast.expr, function: Function) -> Origin:
        return ("value", function.module.file, node.lineno, ast.unparse(node))

    def _all(self, nodes: Iterable[ast.expr], function: Function, *, code: bool) -> set[Origin]:
        return {origin for node in nodes for origin in self.origins(node, function, code=code)}

    def _of_text(self, node: ast.JoinedStr, function: Function, *, code: bool) -> set[Origin]:
        found, before = set(), ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                spec = ast.unparse(part.format_spec) if part.format_spec else ""
                if not spec.rstrip("'\"").endswith(("d", "f")):
                    inside = code or _opens(before)
                    found |= self.origins(part.value, function, code=inside)
                before += "-"
        return found

    def _of_name(self, node: ast.Name, function: Function, *, code: bool) -> set[Origin]:
        if _is_constant(node.id):
            return set()
        at: Function | None = function
        while at:
            if node.id in at.assigned:
                return self._of_assigned(node.id, at, code=code)
            if at.has(node.id):
                if at.annotation(node.id).split(" |")[0] in ("int", "float", "bool"):
                    return set()
                if at.is_pytests:
                    return self._of_fixture(node, at, code=code)
                return {("param", f"{at.module.name}.{at.name}", node.lineno, node.id)}
            at = at.parent
        return {self._value(node, function)}

    def _of_fixture(self, node: ast.Name, function: Function, *, code: bool) -> set[Origin]:
        if given := function.parametrized(node.id):
            return self.origins(given, function.module.body, code=code)
        for module in (function.module, self.modules.get("tests.host.conftest")):
            fixture = module.functions.get(node.id) if module else None
            if fixture and "fixture" in fixture.decorators():
                return self._all(_returned(fixture), fixture, code=code)
        return {self._value(node, function)}

    def _of_assigned(self, name: str, function: Function, *, code: bool) -> set[Origin]:
        mark = (id(function), name)
        if mark in self._busy:
            return set()
        self._busy.add(mark)
        try:
            found = self._all(function.assigned[name], function, code=code)
        finally:
            self._busy.discard(mark)
        if function.has(name):
            found |= {("param", f"{function.module.name}.{function.name}", 0, name)}
        return found

    def _from_call(self, call: ast.Call, function: Function, *, code: bool) -> set[Origin]:
        name = _last(call.func)
        target = self._target(call.func, function)
        if target in QUOTING:
            return self._all(call.args, function, code=False) if code else set()
        if name in COMMANDS | NUMBERS or target in TABLES or self._is_command(function, call.func):
            return set()  # its own words are looked at where it is made
        if name == "map" and call.args:
            by = self._target(call.args[0], function)
            if by in QUOTING or _last(call.args[0]) in NUMBERS:
                return set()
            return self._all(call.args[1:], function, code=code)
        if (isinstance(call.func, ast.Name) and name in SAME) or target == "shlex.split":
            return self._all(call.args, function, code=code)
        if found := self.resolve(call.func, function):
            return {o for each in found for o in self._returned_by(each, call, function, code=code)}
        if isinstance(call.func, ast.Attribute) and name in OF_A_STRING:
            given = [*call.args, *(k.value for k in call.keywords)]
            return self._all([call.func.value, *given], function, code=code)
        return {self._value(call, function)}

    def _returned_by(
        self, called: Function, call: ast.Call, function: Function, *, code: bool
    ) -> set[Origin]:
        mark = (id(called), "()")
        returns = getattr(called.node, "returns", None)
        if mark in self._busy or (returns and ast.unparse(returns) in ("int", "float", "bool")):
            return set()
        self._busy.add(mark)
        try:
            inside = self._all(_returned(called), called, code=code)
        finally:
            self._busy.discard(mark)
        found = set()
        for origin in inside:
            own = origin[0] == "param" and origin[1] == f"{called.module.name}.{called.name}"
            if own:
                found |= self._all(called.given(call, origin[3]), function, code=code)
            else:
                found.add(origin)
        return found


def project() -> Project:
    """This one."""
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    return Project({str(file.relative_to(ROOT)): file.read_text() for file in files})


def _module(name: str, file: str, tree: ast.Module) -> Module:
    module = Module(name, file, tree)
    module.body = Function("", module, tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            module.imports |= {a.asname or a.name: a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            module.imports |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            module.functions[node.name] = _function(node.name, module, node)
        if isinstance(node, ast.ClassDef):
            module.bases[node.name] = [_last(_bare(base)) for base in node.bases]
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    whole = f"{node.name}.{inner.name}"
                    method = _function(whole, module, inner, owner=node.name)
                    module.methods[node.name, inner.name] = method
    _assignments(module.body)
    return module


def _function(
    name: str, module: Module, node: ast.AST, owner: str = "", parent: Function | None = None
) -> Function:
    made = Function(name, module, node, owner, parent or module.body)
    _assignments(made)
    for inner in _own(made):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            made.inner[inner.name] = _function(f"{name}.{inner.name}", module, inner, owner, made)
    return made


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function that are not in one inside it."""
    stack = list(ast.iter_child_nodes(function.node))
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            stack += node.decorator_list
        elif not (isinstance(node, ast.ClassDef) and isinstance(function.node, ast.Module)):
            stack += list(ast.iter_child_nodes(node))
        else:
            stack += [n for n in node.body if not isinstance(n, ast.FunctionDef)]


def _assignments(function: Function) -> None:
    for node in _own(function):
        match node:
            case ast.Assign():
                for target in node.targets:
                    _assign(function, target, node.value)
            case ast.AnnAssign(value=ast.expr()) | ast.AugAssign() | ast.NamedExpr():
                assert node.value is not None
                _assign(function, node.target, node.value)
            case ast.For() | ast.comprehension():
                _assign(function, node.target, node.iter)
            case ast.withitem(optional_vars=ast.expr()):
                assert node.optional_vars is not None
                _assign(function, node.optional_vars, node.context_expr)


def _assign(function: Function, target: ast.expr, value: ast.expr) -> None:
    match target:
        case ast.Name():
            function.assigned.setdefault(target.id, []).append(value)
        case ast.Tuple() | ast.List():
            whole = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for number, each in enumerate(target.elts):
                part = value.elts[number] if whole else value  # type: ignore[attr-defined]
                _assign(function, each, part)
        case ast.Starred():
            _assign(function, target.value, value)
        case ast.Subscript(value=ast.Name()):
            _assign(function, target.value, value)


def _returned(function: Function) -> list[ast.expr]:
    return [
        node.value
        for node in _own(function)
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) and node.value is not None
    ]


def _after_c(words: list[ast.expr]) -> Iterator[ast.expr]:
    """What a list of words gives a shell to run."""
    for n, word in enumerate(words[1:-1], start=1):
        before = words[n - 1]
        shell = isinstance(before, ast.Constant) and before.value in SHELLS
        if shell and isinstance(word, ast.Constant) and str(word.value).endswith("c"):
            yield words[n + 1]


def _words(words: list[ast.expr]) -> Iterator[ast.expr]:
    """The words of a StringCommand; what is quoted for `sh -c` is a command all the same."""
    before = ""
    for word in words:
        quoted = isinstance(word, ast.Call) and _last(word.func) == "QuoteString"
        if quoted and _opens(f"{before} "):
            assert isinstance(word, ast.Call)
            yield word.args[0]
        else:
            yield word
        before = str(word.value) if isinstance(word, ast.Constant) else ""


def _opens(text: str) -> bool:
    """Whether what follows is code, such as after `sh -c `, or stands between quotes already."""
    return text.endswith((" -c ", "--command ")) or text.count("'") % 2 == 1


def _is_constant(name: str) -> bool:
    return name.isupper()


def _bare(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node


def _last(node: ast.expr) -> str:
    node = _bare(node)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _first(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", "")


if __name__ == "__main__":
    print("\n".join(sorted(project().look())))
