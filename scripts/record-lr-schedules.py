"""Records learning rates of diffusers' schedules.

    python scripts/record-lr-schedules.py [SEED COUNT] > test/fixtures/lr-schedules/cases.jsonl

One line for each case: the arguments of get_scheduler, the learning rate, the number of processes, and the learning
rate before the optimizer steps listed, of an optimizer whose schedule steps once per process for every optimizer step.
"""

import json
import math
import random
import sys

import torch
from diffusers.optimization import get_scheduler

NAMES = ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "piecewise_constant"]


def random_case(rng):
    """Typical options and edge cases: no warm-up, warm-up longer than the run, a run of one step."""
    name = rng.choice(NAMES)
    total = rng.choice([1, 2, 10, rng.randint(3, 200), rng.randint(200, 20000)])
    warmup = rng.choice([0, 1, rng.randint(0, total), total // 10, total + rng.randint(0, 5)])
    options = {"num_warmup_steps": warmup, "num_training_steps": total}
    if name == "cosine_with_restarts":
        options["num_cycles"] = rng.choice([1, 2, 3, rng.randint(1, 12)])
    if name == "polynomial":
        options["power"] = rng.choice([1.0, 2.0, 0.5, 3, round(rng.uniform(0, 4), 3)])
    if name == "piecewise_constant":
        ends = sorted(rng.sample(range(1, total + 10), rng.randint(0, min(5, total))))
        if rng.random() < 0.3:
            rng.shuffle(ends)
        values = [rng.choice([1, 0.1, 0.01, 2, round(rng.random(), 4)]) for _ in range(len(ends) + 1)]
        options = {"step_rules": ",".join([f"{v}:{e}" for v, e in zip(values, ends)] + [str(values[-1])])}
    lr = rng.choice([1e-4, 5e-5, 1e-5, 2e-6, 1.0, round(10 ** rng.uniform(-6, 0), 9)])
    return name, options, lr, total


def rates(name, options, lr, processes, at):
    options = dict(options)
    for key in ("num_warmup_steps", "num_training_steps"):
        if key in options:
            options[key] *= processes
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule = get_scheduler(name, optimizer, **options)
    scale = schedule.lr_lambdas[0]
    # A run steps through the schedule; for long ones its function is called directly.
    if max(at) * processes > 300:
        return [lr * scale(step * processes) for step in at]
    values = []
    for step in range(max(at) + 1):
        values.append(schedule.get_last_lr()[0])
        for _ in range(processes):
            optimizer.step()
            schedule.step()
    return [values[step] for step in at]


def main():
    seed, count = (int(a) for a in sys.argv[1:3]) if len(sys.argv) > 2 else (7, 60)
    rng = random.Random(seed)
    done = 0
    while done < count:
        name, options, lr, total = random_case(rng)
        processes = rng.choice([1, 1, 1, 2, 8]) if name != "piecewise_constant" else 1
        warmup = options.get("num_warmup_steps", 0)
        points = {0, 1, 2, warmup - 1, warmup, warmup + 1, total // 2, total - 1, total, total + 1, 2 * total}
        points |= {rng.randint(0, total + 3) for _ in range(5)}
        at = sorted(p for p in points if p >= 0)
        try:
            values = rates(name, options, lr, processes, at)
        except ZeroDivisionError:
            continue
        if any(isinstance(v, complex) or math.isnan(v) for v in values):
            continue
        case = {"name": name, "options": options, "learning_rate": lr, "num_processes": processes, "steps": at, "rates": values}
        print(json.dumps(case, separators=(",", ":")))
        done += 1


if __name__ == "__main__":
    main()
