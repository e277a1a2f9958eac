"""Mutation of programs: insert, delete, modify an argument or a constant, replace an operator. Always valid results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from evo.errors import ConfigError, InvalidGenomeError
from evo.program.ir import Instruction, Program
from evo.program.language import Language, Type
from evo.program.options import KINDS, MutationOptions
from evo.space import Variation

if TYPE_CHECKING:
    import numpy as np


class Form(NamedTuple):
    """One way to call an operator: argument types that it accepts, and what they give."""

    types: tuple[Type, ...]
    result: Type


class Mutator:
    """Varies the programs of one language. Pure: results depend on the arguments alone.

    Args:
        language: types, operators, signature.
        options: see `MutationOptions`.
        operators: names of those that are drawn, for new statements and in place of others; None: all of the language.
            Programs may call the others: their statements are varied like any.

    Raises:
        ConfigError: the language has no operator of such a name.
    """

    def __init__(
        self,
        language: Language,
        options: MutationOptions | None = None,
        operators: Collection[str] | None = None,
    ) -> None:
        self.language = language
        self.options = options = MutationOptions() if options is None else options
        self._inputs: dict[str, Type] = dict(language.signature.inputs)
        self._reserved = {*self._inputs, *dict(language.signature.outputs)}
        drawn = frozenset(language.operators if operators is None else operators)
        unknown = sorted(drawn - set(language.operators))
        if unknown:
            raise ConfigError(f"the language has no operators {', '.join(unknown)}")
        # in the language's order, so that a restriction that excludes nothing changes no draw
        self._forms = {
            name: _forms(language, operator.arity, name)
            for name, operator in language.operators.items()
            if name in drawn
        }
        self._callable: dict[frozenset[Type], tuple[str, ...]] = {}
        self._peers: dict[tuple[Type, ...], tuple[str, ...]] = {}
        self._weights = tuple(float(getattr(options, kind)) for kind in KINDS)
        self._kinds = (
            self._insert,
            self._delete,
            self._modify_argument,
            self._modify_constant,
            self._replace_operator,
            self._modify,
        )

    def mutate(self, program: Program, rng: np.random.Generator) -> Variation:
        """A valid program that differs by one statement, and the name of the mutation (one of `KINDS`).

        A kind is drawn by weight and tried at most `tries` times; where it finds no valid child, it is put aside and
        another is drawn from the rest. Where all kinds of positive weight fail (a program without literals under a
        constants-only search), the program itself is returned under the name "none".

        Args:
            program: valid, of any length; one longer than `max_length` is never lengthened.

        Raises:
            InvalidGenomeError: the program is not valid.
        """
        types = self.language.trace(program)
        if types is None:
            self.language.infer(program)
            raise InvalidGenomeError("the program to mutate is not valid")
        weights = list(self._weights)
        if len(program.instructions) >= self.options.max_length:
            weights[0] = 0.0
        while (total := sum(weights)) > 0.0:
            point, kind = rng.random() * total, 0
            while point >= weights[kind] and kind < len(weights) - 1:
                point -= weights[kind]
                kind += 1
            if weights[kind] > 0.0:  # rounding may run past the last kind with weight
                child = self._kinds[kind](program.instructions, types, rng)
                if child is not None:
                    return Variation(Program(child), KINDS[kind])
                weights[kind] = 0.0
        return Variation(program, "none")

    def sample(self, rng: np.random.Generator) -> Program:
        """A random valid program: one statement for every output that no input provides, then insertions before them
        up to a length drawn uniformly from `sample_length`.

        Raises:
            ConfigError: the language cannot express an output from the inputs by a single call.
        """
        shortest, longest = self.options.sample_length
        length = shortest + int(rng.random() * (longest - shortest + 1))
        needed = [(n, t) for n, t in self.language.signature.outputs if self._inputs.get(n) != t]
        variables = dict(self._inputs)
        body: list[Instruction] = []
        while len(body) < length - len(needed):
            step, result = self._statement(variables, rng)
            if not step.target:
                step = step._replace(target=self._fresh(body))
            body.append(step)
            variables[step.target] = result
        for name, wanted in needed:
            present = frozenset(variables.values())
            operators = [
                operator
                for operator, forms in self._forms.items()
                if any([form.result == wanted and self._usable(form, present) for form in forms])
            ]
            if not operators:
                raise ConfigError(f"no operator makes the output {name!r} (a {wanted}) of the variables there are")
            operator = operators[int(rng.random() * len(operators))]
            arguments, variables[name] = self._arguments(operator, variables, rng, wanted)
            body.append(Instruction(name, operator, arguments))
        return Program(tuple(body))

    def _type(self, argument: str | float, variables: dict[str, Type]) -> Type:
        return variables[argument] if isinstance(argument, str) else self.language.constant_type

    def _variables(self, before: Sequence[Instruction], types: Sequence[Type]) -> dict[str, Type]:
        """Variables defined after the statements `before`, with their types."""
        variables = dict(self._inputs)
        for step, type_ in zip(before, types, strict=False):
            variables[step[0]] = type_
        return variables

    def _literal(self, rng: np.random.Generator) -> float:
        limit = self.options.constant_limit
        return min(max(float(rng.standard_normal()) * self.options.constant_scale, -limit), limit)

    def _usable(self, form: Form, present: frozenset[Type]) -> bool:
        return all([t in present or t == self.language.constant_type for t in form.types])

    def _statement(self, variables: dict[str, Type], rng: np.random.Generator) -> tuple[Instruction, Type]:
        """A random call on these variables and its type; the target is one of the variables of that type, or "" for a
        fresh one, all equally likely."""
        present = frozenset(variables.values())
        operators = self._callable.get(present)
        if operators is None:
            operators = self._callable[present] = tuple(
                [name for name, forms in self._forms.items() if any([self._usable(form, present) for form in forms])]
            )
            if not operators:
                raise ConfigError(f"no operator can be called on variables of the types {sorted(present)}")
        operator = operators[int(rng.random() * len(operators))]
        arguments, result = self._arguments(operator, variables, rng)
        targets = [name for name, type_ in variables.items() if type_ == result]
        pick = int(rng.random() * (len(targets) + 1))
        return Instruction(targets[pick] if pick < len(targets) else "", operator, arguments), result

    def _arguments(
        self, operator: str, variables: dict[str, Type], rng: np.random.Generator, wanted: Type | None = None
    ) -> tuple[tuple[str | float, ...], Type]:
        """Arguments for an operator that is callable, and the type of the result. Of the tuples of variables that it
        accepts each is equally likely; some places are literals, but not all of them where that can be helped."""
        constant, share = self.language.constant_type, self.options.constant_probability
        by_type: dict[Type, list[str]] = {}
        for name, type_ in variables.items():
            by_type.setdefault(type_, []).append(name)
        forms = [form for form in self._forms[operator] if wanted is None or form.result == wanted]
        arity = self.language.operators[operator].arity
        literal = [rng.random() < share for _ in range(arity)] if share else [False] * arity
        if all(literal):
            literal = [False] * arity
        for flags in (literal, [False] * arity):
            weights = []
            for form in forms:
                weight = 1
                for type_, flag in zip(form.types, flags, strict=True):
                    weight *= (type_ == constant) if flag else len(by_type.get(type_, ()))
                weights.append(weight)
            total = sum(weights)
            if total:
                break
        else:  # some place accepts literals alone, for want of variables of their type
            flags = [True] * arity
            present = frozenset(by_type)
            weights = [int(self._usable(form, present)) for form in forms]
            total = sum(weights)
        point, index = int(rng.random() * total), 0
        while point >= weights[index]:
            point -= weights[index]
            index += 1
        form = forms[index]
        arguments: list[str | float] = []
        for type_, flag in zip(form.types, flags, strict=True):
            names = by_type.get(type_)
            if names is None or (flag and type_ == constant):
                arguments.append(self._literal(rng))
            else:
                arguments.append(names[int(rng.random() * len(names))])
        return tuple(arguments), form.result

    def _insert(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...]:
        # a variable is overwritten by one of its own type only, so every later statement stays valid
        position = int(rng.random() * (len(instructions) + 1))
        step, _ = self._statement(self._variables(instructions[:position], types), rng)
        if not step.target:
            step = step._replace(target=self._fresh(instructions))
        return (*instructions[:position], step, *instructions[position:])

    def _fresh(self, instructions: Sequence[Instruction]) -> str:
        taken = {step[0] for step in instructions}
        number = 0
        while (name := f"t{number}") in taken or name in self._reserved:
            number += 1
        return name

    def _delete(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...] | None:
        if len(instructions) < 2:
            return None
        for _ in range(self.options.tries):
            position = int(rng.random() * len(instructions))
            shorter = instructions[:position] + instructions[position + 1 :]
            target = instructions[position][0]
            before = self._variables(instructions[:position], types)
            if before.get(target) == types[position] or self._valid(shorter):
                return shorter
        return None

    def _valid(self, instructions: tuple[Instruction, ...]) -> bool:
        return self.language.trace(Program(instructions)) is not None

    def _changed(
        self, instructions: tuple[Instruction, ...], position: int, step: Instruction, same_type: bool
    ) -> tuple[Instruction, ...] | None:
        child = (*instructions[:position], step, *instructions[position + 1 :])
        return child if same_type or self._valid(child) else None

    def _modify_argument(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...] | None:
        if not instructions:
            return None
        constant = self.language.constant_type
        for _ in range(self.options.tries):
            position = int(rng.random() * len(instructions))
            target, operator, arguments = instructions[position]
            if not arguments:
                continue
            place = int(rng.random() * len(arguments))
            variables = self._variables(instructions[:position], types)
            known = [self._type(a, variables) for a in arguments]
            new: str | float
            if rng.random() < self.options.constant_probability:
                new, known[place] = self._literal(rng), constant
            else:
                names = [name for name in variables if name != arguments[place]]
                if not names:
                    continue
                new = names[int(rng.random() * len(names))]
                known[place] = variables[new]
            result = self.language.result(operator, tuple(known))
            if result is None:
                continue
            step = Instruction(target, operator, (*arguments[:place], new, *arguments[place + 1 :]))
            child = self._changed(instructions, position, step, result == types[position])
            if child is not None:
                return child
        return None

    def _modify_constant(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...] | None:
        places = [
            (position, place)
            for position, step in enumerate(instructions)
            for place, argument in enumerate(step[2])
            if not isinstance(argument, str)
        ]
        if not places:
            return None
        position, place = places[int(rng.random() * len(places))]
        return self._scaled(instructions, position, place, rng)

    def _scaled(
        self, instructions: tuple[Instruction, ...], position: int, place: int, rng: np.random.Generator
    ) -> tuple[Instruction, ...]:
        """With this literal times a power of two."""
        target, operator, arguments = instructions[position]
        value = float(arguments[place]) * 2.0 ** (float(rng.standard_normal()) * self.options.constant_step)
        if self.options.sign_flip and rng.random() < self.options.sign_flip:
            value = -value
        limit = self.options.constant_limit
        value = min(max(value, -limit), limit)
        step = Instruction(target, operator, (*arguments[:place], value, *arguments[place + 1 :]))
        return (*instructions[:position], step, *instructions[position + 1 :])

    def _modify(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...] | None:
        if not instructions:
            return None
        for _ in range(self.options.tries):
            position = int(rng.random() * len(instructions))
            target, operator, arguments = instructions[position]
            if not arguments:
                continue
            place = int(rng.random() * len(arguments))
            given = arguments[place]
            if not isinstance(given, str):
                return self._scaled(instructions, position, place, rng)
            variables = self._variables(instructions[:position], types)
            names = [name for name, type_ in variables.items() if type_ == variables[given] and name != given]
            if not names:
                continue
            name = names[int(rng.random() * len(names))]
            # arguments keep their types, so the statement's type stays too, and the program is valid
            step = Instruction(target, operator, (*arguments[:place], name, *arguments[place + 1 :]))
            return (*instructions[:position], step, *instructions[position + 1 :])
        return None

    def _replace_operator(
        self, instructions: tuple[Instruction, ...], types: list[Type], rng: np.random.Generator
    ) -> tuple[Instruction, ...] | None:
        if not instructions:
            return None
        for _ in range(self.options.tries):
            position = int(rng.random() * len(instructions))
            target, operator, arguments = instructions[position]
            variables = self._variables(instructions[:position], types)
            known = tuple([self._type(a, variables) for a in arguments])
            peers = self._peers.get(known)
            if peers is None:
                result = self.language.result
                peers = self._peers[known] = tuple([name for name in self._forms if result(name, known) is not None])
            other = peers[int(rng.random() * len(peers))] if peers else operator
            if other == operator:
                continue
            same = self.language.result(other, known) == types[position]
            child = self._changed(instructions, position, Instruction(target, other, arguments), same)
            if child is not None:
                return child
        return None


def _forms(language: Language, arity: int, operator: str) -> tuple[Form, ...]:
    """All argument types that an operator accepts."""
    found: list[Form] = []
    partial: list[tuple[Type, ...]] = [()]
    for _ in range(arity):
        partial = [(*types, type_) for types in partial for type_ in language.type_order]
    for types in partial:
        result = language.result(operator, types)
        if result is not None:
            found.append(Form(types, result))
    return tuple(found)
