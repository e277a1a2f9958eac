"""A language of programs: its types, its operator table, its signature, and type inference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from evo.errors import ConfigError, InvalidGenomeError
from evo.program.algebra import Identity, Level, Rewrites, compile_identities, operators_in
from evo.program.ir import Program

Type = str
"""A type is its name; `Language.type_order` lists all of them."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of an operator table.

    Attributes:
        name: as programs write it; a Python identifier.
        arity: number of arguments.
        infer: result type from argument types; None where these types are not accepted. Pure: results are remembered.
        source: template of Python source, placeholders `{0}`, `{1}`, ...: "torch.sin({0})".
        commutative: arity 2, and swapping the arguments changes no bit of the result.
        fold: its value on floats, as the reference semantics give it in float64, or None. It may raise
            ArithmeticError or ValueError for what it cannot fold: the operation is then kept.
        opcode: the kernel's name for it; default: `name`.
        identities: local algebra rooted at this operator, see `evo.program.algebra`.
        infix: template for people, "{0} + {1}"; default: a call by name.
    """

    name: str
    arity: int
    infer: Callable[[tuple[Type, ...]], Type | None]
    source: str
    commutative: bool = False
    fold: Callable[..., float] | None = None
    opcode: str = ""
    identities: tuple[Identity, ...] = ()
    infix: str = ""


def operator_table(operators: Iterable[Operator]) -> dict[str, Operator]:
    """Operators by name.

    Raises:
        ConfigError: two operators have one name.
    """
    table: dict[str, Operator] = {}
    for operator in operators:
        if operator.name in table:
            raise ConfigError(f"the operator {operator.name!r} is defined twice")
        table[operator.name] = operator
    return table


@dataclass(frozen=True, slots=True)
class Signature:
    """What a program reads and what it must leave behind.

    Attributes:
        inputs: (name, type) of the variables that are defined when it starts, in order.
        outputs: (name, type) of the variables that are read when it ends, in order.
        state: output name -> the input name that it feeds at the next step. All slots of one type start with the same
            value (zeros), so that slots may be exchanged for each other.
    """

    inputs: tuple[tuple[str, Type], ...]
    outputs: tuple[tuple[str, Type], ...]
    state: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inputs, outputs = dict(self.inputs), dict(self.outputs)
        if len(inputs) != len(self.inputs) or len(outputs) != len(self.outputs):
            raise ConfigError("a signature names an input or an output twice")
        if len(set(self.state.values())) != len(self.state):
            raise ConfigError("two outputs of a signature feed one input")
        for output, source in self.state.items():
            if output not in outputs or source not in inputs or outputs[output] != inputs[source]:
                raise ConfigError(f"state {output!r} -> {source!r} does not join an output to an input of its type")


@dataclass(frozen=True)
class Language:
    """Signature, operators and types: all that the tools of `evo.program` need to know of a space.

    Attributes:
        signature: inputs, outputs, state.
        operators: by name (`operator_table` makes the mapping).
        constant_type: the type of a literal.
        type_order: all types, in the order in which `lower` numbers them.
        results: what `result` found so far, by (operator, argument types); quick paths read it first.
    """

    signature: Signature
    operators: Mapping[str, Operator]
    constant_type: Type = "scalar"
    type_order: tuple[Type, ...] = ("tree", "leaf", "scalar")
    results: dict[tuple[str, tuple[Type, ...]], Type | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _rewrites: dict[Level, Mapping[str, Rewrites]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        known = set(self.type_order)
        used = {t for _, t in (*self.signature.inputs, *self.signature.outputs)} | {self.constant_type}
        if not used <= known:
            raise ConfigError(f"types {sorted(used - known)} are missing from type_order {self.type_order}")
        for name, operator in self.operators.items():
            if name != operator.name:
                raise ConfigError(f"the operator {operator.name!r} stands in the table under {name!r}")
            if operator.commutative and operator.arity != 2:
                raise ConfigError(f"the operator {name!r} is commutative, so it must have two arguments")
        self.rewrites("real")  # a malformed identity is found when the language is made

    def restricted(self, names: Iterable[str]) -> Language:
        """The language with some of its operators only; identities that name another operator are left out.

        Raises:
            ConfigError: no operator has such a name.
        """
        wanted = set(names)
        if not wanted <= set(self.operators):
            raise ConfigError(
                f"no operator is called {sorted(wanted - set(self.operators))}", f"there are {sorted(self.operators)}"
            )
        kept = operator_table(
            replace(
                operator,
                identities=tuple(i for i in operator.identities if operators_in(i.pattern, i.result) <= wanted),
            )
            for name, operator in self.operators.items()
            if name in wanted
        )
        return Language(self.signature, kept, self.constant_type, self.type_order)

    def rewrites(self, level: Level) -> Mapping[str, Rewrites]:
        """The compiled identities up to a level, by root operator."""
        found = self._rewrites.get(level)
        if found is None:
            arities = {name: (operator.arity, operator.commutative) for name, operator in self.operators.items()}
            identities = {name: operator.identities for name, operator in self.operators.items()}
            found = self._rewrites[level] = compile_identities(identities, arities, level)
        return found

    def result(self, operator: str, types: tuple[Type | None, ...]) -> Type | None:
        """Result type of one call, remembered; None if the operator is unknown or does not accept these types."""
        key = (operator, types)
        try:
            return self.results[key]  # type: ignore[index]
        except KeyError:
            row = self.operators.get(operator)
            if row is None or len(types) != row.arity or None in types:
                return None
            result = self.results[key] = row.infer(types)  # type: ignore[index, arg-type]
            return result

    def trace(self, program: Program) -> list[Type] | None:
        """The target's type of every statement, or None where the program is not valid. The quick form of `infer`,
        which does not look at the values of literals."""
        variables: dict[str | float, Type] = dict(self.signature.inputs)
        results, constant, traced = self.results, self.constant_type, []
        for target, operator, arguments in program.instructions:
            types = tuple([variables.get(a) if isinstance(a, str) else constant for a in arguments])
            result = results.get((operator, types))  # type: ignore[arg-type]
            if result is None:
                result = self.result(operator, types)
                if result is None:
                    return None
            variables[target] = result
            traced.append(result)
        for name, wanted in self.signature.outputs:
            if variables.get(name) != wanted:
                return None
        return traced

    def infer(self, program: Program) -> tuple[Type, ...]:
        """The type of the target of every statement.

        Raises:
            InvalidGenomeError: an operator or a variable is unknown, types do not fit, a literal is not finite, or
                an output is missing or has another type.
        """
        variables = dict(self.signature.inputs)
        traced = []
        for index, instruction in enumerate(program.instructions):
            where = f"statement {index} ({instruction})"
            operator = self.operators.get(instruction.operator)
            if operator is None:
                raise InvalidGenomeError(f"{where}: no operator is called {instruction.operator!r}")
            types: list[Type] = []
            for argument in instruction.arguments:
                if not isinstance(argument, str):
                    if not math.isfinite(argument):
                        raise InvalidGenomeError(f"{where}: a literal must be finite")
                    types.append(self.constant_type)
                elif argument in variables:
                    types.append(variables[argument])
                else:
                    raise InvalidGenomeError(f"{where}: the variable {argument!r} is not defined here")
            if len(types) != operator.arity:
                raise InvalidGenomeError(f"{where}: {operator.name} takes {operator.arity} arguments, not {len(types)}")
            result = self.result(operator.name, tuple(types))
            if result is None:
                raise InvalidGenomeError(f"{where}: {operator.name} does not accept ({', '.join(types)})")
            variables[instruction.target] = result
            traced.append(result)
        for name, wanted in self.signature.outputs:
            if name not in variables:
                raise InvalidGenomeError(f"the output {name!r} is never assigned")
            if variables[name] != wanted:
                raise InvalidGenomeError(f"the output {name!r} must be a {wanted}; it ends as a {variables[name]}")
        return tuple(traced)

    def is_valid(self, program: Program) -> bool:
        """Whether `infer` accepts the program."""
        return self.trace(program) is not None and all(
            isinstance(a, str) or math.isfinite(a) for step in program.instructions for a in step.arguments
        )
