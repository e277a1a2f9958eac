"""Schedules as people read them."""

from __future__ import annotations

from search_spaces.autodiffusion.budget import Profile
from search_spaces.autodiffusion.genome import Schedule

NAMES = {"ddim": "DDIM", "dpmpp_2m": "DPM-Solver++ 2M", "euler": "Euler", "unipc": "UniPC"}


def one_line(schedule: Schedule) -> str:
    """ "DDIM 958 604 245 14; 3 skips"."""
    times = " ".join(map(str, schedule.timesteps))
    return f"{NAMES[schedule.solver]} {times}" + (f"; {schedule.skipped} skips" if schedule.skipped else "")


def described(schedule: Schedule, profile: Profile | None) -> str:
    """Solver and steps, a line a step that skips blocks, and costs.

    Args:
        schedule: the genome.
        profile: of the model; None: blocks are numbers, and costs not known.
    """
    lines = [f"{NAMES[schedule.solver]}, {schedule.steps} network calls", f"timesteps {list(schedule.timesteps)}"]
    for step, mask in enumerate(schedule.masks):
        if mask:
            names = [
                f"block {block}" if profile is None or block >= len(profile.blocks) else profile.blocks[block]
                for block in mask
            ]
            lines.append(f"at {schedule.timesteps[step]} skips {', '.join(names)}")
    if profile is not None and schedule.masks and max(map(max, filter(None, schedule.masks))) < len(profile.blocks):
        costs = {unit: profile.cost(schedule, unit) for unit in ("macs", "time")}  # type: ignore[arg-type]
        lines.append(f"costs {costs['macs']:.2f} full calls in multiply-adds, {costs['time']:.2f} in measured time")
    return "\n".join(lines)
