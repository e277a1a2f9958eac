"""A population sampled at once: trajectories that begin alike are computed once, as far as they are alike.

Deterministic solvers and common noise make what the network sees at call k a function of the timesteps and masks up to
it. So the trajectories form a trie from the first timestep down, and each of its nodes is one network call for each
sample. Two notions of alike are kept apart. Samples: the network's input; equal across solvers as long as no step has
used a memory (the first step of every solver here is DDIM's). States: sample and memory; a multistep solver's memory is
part of it, which keeps sharing exact.

Bits. The network is called with a fixed number of rows, in tiles of consecutive samples of one node, padded with zeros.
A tile as large as the call, the default on a CPU, holds one node's samples at their own places, so that a call's every
input is the same whoever shares the population. Smaller tiles mix nodes of equal depth in a call, with a timestep and a
mask a row: a row's bits then do not depend on the others as far as the device's products of fixed shape do not.

Memory. Samples are taken tile by tile through the whole trie; where a depth of it would not fit the limit, the
population is cut, in the order of its timesteps, and what two parts share is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evo.errors import ConfigError
from kernels.diffusion import advance
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.models.model import Model
from search_spaces.autodiffusion.sampling.masks import Skipping
from search_spaces.autodiffusion.sampling.noise import noise
from search_spaces.autodiffusion.sampling.solvers import Plan, plan

Conditions = Callable[[int, int], dict[str, Tensor]]
"""(first, count) to what the network is also given for those samples, one row each."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a population costs.

    Attributes:
        made: network calls a sample, the trie's nodes.
        alone: the same if every schedule were sampled by itself.
    """

    made: int
    alone: int

    @property
    def saved(self) -> float:
        """Share of calls that the trie saves."""
        return 1 - self.made / self.alone if self.alone else 0.0


@dataclass(slots=True)
class _Depth:
    """One depth of the trie.

    Attributes:
        samples: for each sample that the network sees, (its state among those of the depth, timestep, mask, reads).
        steps: what follows: (state, index in `samples`, matrix, whether it is clipped, schedules that end with it).
            One that ends for nobody makes the next depth's states, in order.
    """

    samples: list[tuple[int, int, tuple[int, ...], tuple[float, float]]]
    steps: list[tuple[int, int, Any, bool, list[int]]]


class Trie:
    """The trajectories of a population.

    Args:
        schedules: genomes.
        plans: their plans.

    Attributes:
        first: (scale, slots, clips) of each state before the first call.
        depths: what is done at each call.
        calls: what it costs.
    """

    def __init__(self, schedules: Sequence[Schedule], plans: Sequence[Plan]) -> None:
        self.depths: list[_Depth] = []
        alone = sum(len(p.steps) for p in plans)
        # states: schedule -> index of its state at this depth, and the key of the sample in it
        live: dict[Any, list[int]] = {}
        of_sample: dict[Any, Any] = {}
        for i, p in enumerate(plans):
            state = (p.scale, p.slots, p.clips)
            live.setdefault(state, []).append(i)
            of_sample[state] = (p.scale, p.clips)
        self.first = list(live)
        at = 0
        while live:
            depth, live, of_sample = self._depth(at, live, of_sample, schedules, plans)
            self.depths.append(depth)
            at += 1
        self.calls = Calls(sum(len(depth.samples) for depth in self.depths), alone)

    @staticmethod
    def _depth(
        at: int,
        live: dict[Any, list[int]],
        of_sample: dict[Any, Any],
        schedules: Sequence[Schedule],
        plans: Sequence[Plan],
    ) -> tuple[_Depth, dict[Any, list[int]], dict[Any, Any]]:
        """One depth: schedules by state and key of sample, and the same for the next depth.

        A state that branches here (another timestep was decided by the step before: it is part of the state) differs in
        its mask alone.
        """
        seen: dict[Any, int] = {}
        depth = _Depth([], [])
        following: dict[Any, list[int]] = {}
        following_sample: dict[Any, Any] = {}
        for row, (state, members) in enumerate(live.items()):
            groups: dict[Any, list[int]] = {}
            for i in members:
                groups.setdefault((plans[i].steps[at].timestep, schedules[i].mask(at)), []).append(i)
            for (timestep, mask), own in groups.items():
                key = (of_sample[state], timestep, mask)
                reads = plans[own[0]].steps[at].reads
                if key not in seen:
                    seen[key] = len(depth.samples)
                    depth.samples.append((row, timestep, mask, reads))
                nexts: dict[Any, list[int]] = {}
                for i in own:
                    nexts.setdefault((plans[i].steps[at].matrix, at + 1 == len(plans[i].steps)), []).append(i)
                for (matrix, ends), later in nexts.items():
                    depth.steps.append((row, seen[key], matrix, plans[own[0]].clips, later if ends else []))
                    if ends:
                        continue
                    after = (state, timestep, mask, matrix)
                    following[after] = later
                    remembers = any(matrix[0][2:])
                    alike = (of_sample[state], timestep, mask, matrix[0][:2])
                    following_sample[after] = after if remembers else alike
        return depth, following, following_sample


class Sampler:
    """Samples populations of schedules from one model.

    Args:
        model: what is sampled from.
        blocks: names of the blocks that masks index.
        rows: of a network call; always that many.
        tile: consecutive samples of one node that stay together; a divisor of `rows`, None for `rows` itself.
        limit_mb: megabytes that samples and memories of one depth may take.
        device: where the network runs; it is moved there.
        conditions: what the network is also given, for samples (first, count).
        backend: of the solver step, see `kernels.dispatch`.

    Raises:
        ConfigError: `tile` does not divide `rows`.
    """

    def __init__(
        self,
        model: Model,
        blocks: Sequence[str] = (),
        *,
        rows: int = 128,
        tile: int | None = None,
        limit_mb: int = 512,
        device: str = "cpu",
        conditions: Conditions | None = None,
        backend: str | None = None,
    ) -> None:
        self.model = model
        self.blocks = tuple(blocks)
        self.rows, self.tile = rows, tile or rows
        if rows < 1 or rows % self.tile:
            raise ConfigError(f"a call of {rows} rows in tiles of {self.tile}", "let the tile divide the rows")
        self.device = torch.device(device)
        self._limit = limit_mb * 2**20
        self._conditions = conditions
        self._backend = backend
        model.unet.to(self.device)
        self._dtype = next((p.dtype for p in model.unet.parameters() if p.is_floating_point()), torch.float32)

    def plans(self, schedules: Sequence[Schedule]) -> list[Plan]:
        """What the schedules' solvers do."""
        noise_levels = self.model.schedule
        found: dict[Any, Plan] = {}
        for s in schedules:
            key = (s.timesteps, s.solver)
            if key not in found:
                found[key] = plan(
                    noise_levels.alphas_cumprod, s.timesteps, s.solver, noise_levels.prediction_type, noise_levels.clip
                )
        return [found[s.timesteps, s.solver] for s in schedules]

    def calls(self, schedules: Sequence[Schedule]) -> Calls:
        """What sampling them together costs."""
        parts = self._parts(schedules, self.plans(schedules))
        return Calls(sum(t.calls.made for _, t in parts), sum(t.calls.alone for _, t in parts))

    def images(self, schedules: Sequence[Schedule], seed: int, count: int) -> Tensor:
        """(k, count, c, h, w) float32, on the CPU: of each schedule, from noise 0 .. count - 1 of a seed."""
        tiles = [images.cpu() for _, images in self.sampled(schedules, seed, count)]
        return torch.cat(tiles, 1) if tiles else torch.empty((len(schedules), 0, *self.model.shape))

    @torch.inference_mode()
    def sampled(self, schedules: Sequence[Schedule], seed: int, count: int) -> Iterator[tuple[int, Tensor]]:
        """Tile by tile: (index of its first sample, images (k, m, c, h, w) float32 on the device), m samples each, all
        of one size but the last."""
        parts = self._parts(schedules, self.plans(schedules))
        masked = self.blocks if any(s.masks for s in schedules) else ()
        with Skipping(self.model.unet, masked) as skipping:
            for first in range(0, count, self.tile):
                own = torch.from_numpy(noise(seed, first, self.tile, self.model.shape)).to(self.device).flatten(1)
                found = torch.empty((len(schedules), self.tile, own.shape[1]), device=self.device)
                for members, trie in parts:
                    self._run(trie, members, own, first, skipping, found)
                size = min(self.tile, count - first)
                yield first, found[:, :size].unflatten(2, self.model.shape)

    def _parts(self, schedules: Sequence[Schedule], plans: Sequence[Plan]) -> list[tuple[list[int], Trie]]:
        """The population in parts that fit the limit, those that begin alike together."""
        order = sorted(range(len(schedules)), key=lambda i: (schedules[i].timesteps, schedules[i].solver), reverse=True)
        found, waiting = [], [order] if order else []
        while waiting:
            members = waiting.pop()
            trie = Trie([schedules[i] for i in members], [plans[i] for i in members])
            if len(members) > 1 and self._bytes(trie, max(plans[i].slots for i in members)) > self._limit:
                half = len(members) // 2
                waiting += [members[half:], members[:half]]
            else:
                found.append((members, trie))
        return found

    def _bytes(self, trie: Trie, slots: int) -> int:
        """Of the widest depth: states before and after it, and the network's outputs."""
        size = 1
        for length in self.model.shape:
            size *= length
        widest = max(len(d.samples) + 2 * len(d.steps) * (1 + slots) for d in trie.depths)
        return 4 * widest * self.tile * size

    def _run(
        self, trie: Trie, members: Sequence[int], own: Tensor, first: int, skipping: Skipping, found: Tensor
    ) -> None:
        """One tile of samples through a trie."""
        states = [
            (own if scale == 1 else own * scale, own.new_zeros((len(own), slots, own.shape[1])))
            for scale, slots, _ in trie.first
        ]
        for depth in trie.depths:
            outputs = self._outputs(depth, [x for x, _ in states], first, skipping)
            states = self._steps(depth, states, outputs, members, found)

    def _outputs(self, depth: _Depth, inputs: Sequence[Tensor], first: int, skipping: Skipping) -> list[Tensor]:
        """What the network says of each sample of a depth, (tile, d); nodes of one mask share calls."""
        together = self.rows // self.tile
        order = sorted(range(len(depth.samples)), key=lambda i: depth.samples[i][2])
        outputs: list[Any] = [None] * len(order)
        conditions = self._conditions(first, self.tile) if self._conditions else {}
        for start in range(0, len(order), together):
            part = order[start : start + together]
            asked = [depth.samples[i] for i in part]
            rows = [inputs[state] for state, *_ in asked]
            times = [timestep for _, timestep, *_ in asked]
            missing = together - len(part)
            rows += [torch.zeros_like(rows[0])] * missing
            times += [0] * missing
            # rows that pad a call skip what its last node skips, so that a call of one mask stays one
            self._mask([mask for _, _, mask, _ in asked] + [asked[-1][2]] * missing, skipping)
            x = torch.cat(rows).unflatten(1, self.model.shape).to(self._dtype)
            t = torch.tensor(times, device=self.device).repeat_interleave(self.tile)
            given = {name: value.repeat(together, *[1] * (value.ndim - 1)) for name, value in conditions.items()}
            said = self.model.call(x, t, **given).float().flatten(1)
            for i, output in zip(part, said.split(self.tile), strict=False):
                outputs[i] = output
        return outputs

    def _mask(self, masks: Sequence[tuple[int, ...]], skipping: Skipping) -> None:
        if not any(masks):
            skipping.set(None)
            return
        table = torch.zeros((len(masks), len(self.blocks)), dtype=torch.bool)
        for row, mask in enumerate(masks):
            if mask and mask[-1] >= len(self.blocks):
                raise ConfigError(f"a mask names block {mask[-1]} of {len(self.blocks)}", "see blocks_of(network)")
            table[row, list(mask)] = True
        skipping.set(table.repeat_interleave(self.tile, 0).to(self.device))

    def _steps(
        self, depth: _Depth, states: Sequence[Any], outputs: Sequence[Tensor], members: Sequence[int], found: Tensor
    ) -> list[Any]:
        """Samples and memories of the next depth; images of the schedules that end go to `found`."""
        following: list[Any] = [None] * len(depth.steps)
        kinds: dict[Any, list[int]] = {}
        for i, (state, _, _, clips, _) in enumerate(depth.steps):
            kinds.setdefault((states[state][1].shape[1], clips), []).append(i)
        for (_, clips), all_steps in kinds.items():
            for start in range(0, len(all_steps), _TOGETHER):
                which = all_steps[start : start + _TOGETHER]
                steps = [depth.steps[i] for i in which]
                reads = torch.tensor([depth.samples[step[1]][3] for step in steps])
                matrices = torch.tensor([step[2] for step in steps])
                x, history = advance(
                    torch.cat([states[step[0]][0] for step in steps]),
                    torch.cat([outputs[step[1]] for step in steps]),
                    torch.cat([states[step[0]][1] for step in steps]),
                    reads.repeat_interleave(self.tile, 0).to(self.device),
                    matrices.repeat_interleave(self.tile, 0).to(self.device),
                    1.0 if clips else None,
                    self._backend,
                )
                for i, pair in zip(which, zip(x.split(self.tile), history.split(self.tile), strict=True), strict=True):
                    following[i] = pair
        for i, (_, _, _, _, ends) in enumerate(depth.steps):
            for schedule in ends:
                found[members[schedule]] = following[i][0]
        return [pair for pair, step in zip(following, depth.steps, strict=True) if not step[4]]


_TOGETHER = 32
"""Steps of one call of the kernel: more would only copy more at once."""
