"""The `zoo` command: finds the subcommand, turns bad input into one sentence and exit code 2."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

PIPE_CLOSED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class Command(NamedTuple):
    """A subcommand; its module is imported when it runs, so that `zoo --help` is quick."""

    function: str
    """`module:function` inside `zoo.commands`."""
    summary: str
    reads_own_arguments: bool = False
    """The function takes the list of arguments, instead of flags made from its signature."""


COMMANDS = {
    "list": Command("models:show_models", "every model with size, accuracy and licence"),
    "info": Command("models:show_model", "one model's card"),
    "classify": Command("inference:classify", "label photographs with your own words"),
    "embed": Command("inference:embed", "photographs and texts to features in a file"),
    "segment": Command("segment:segment", "photographs coloured by your own words"),
    "chat": Command("chat:chat", "ask about pictures, in one conversation"),
    "convert": Command("models:convert", "weights to another naming, reparameterized or not"),
    "interpolate": Command("interpolate:interpolate", "weights between two, as WiSE-FT"),
    "data tiny-world": Command("tiny_world:tiny_world", "shards of the procedural data set"),
    "data filter": Command("curate:filter_data", "keep the pairs that a teacher finds most alike"),
    "data dedup": Command("curate:dedup_data", "of pictures that mean the same, keep one"),
    "data prune": Command("curate:prune_data", "keep more of complex concepts, the hardest first"),
    "data retrieve": Command("curate:retrieve_data", "keep what resembles pictures or texts"),
    "data balance": Command("curate:balance_data", "count concepts, let frequent ones weigh less"),
    "data check": Command("data_inspect:check", "find damage in shards and sidecars"),
    "data repair": Command("data_inspect:repair", "write sound copies of damaged shards"),
    "data show": Command("data_inspect:show", "contact sheet of a reinforced shard"),
    "data stats": Command("data_inspect:stats", "sizes, caption lengths, similarities"),
    "data pack": Command("data_pack:data_pack", "your own pictures as shards"),
    "data coco": Command("data_coco:data_coco", "COCO's pictures and instances as shards"),
    "data import": Command("data_import:data_import", "Apple's reinforced data as sidecars"),
    "reinforce": Command("reinforce:reinforce", "store embeddings and captions beside shards"),
    "reinforce masks": Command(
        "reinforce_masks:reinforce_with_masks", "a SAM's masks beside shards"
    ),
    "train": Command("train:train", "run a recipe; `zoo train --list` shows them", True),
    "report": Command("report:report", "draw the curves of training runs into one page"),
    "continual": Command("continual:continual", "train over time steps, with replay", True),
    "transfer": Command("transfer:transfer", "a small tower for a task, from few labels"),
    "eval": Command("evaluate:evaluate", "zero-shot classification and retrieval"),
    "eval segmentation": Command("eval_segmentation:evaluate_segmentation", "classes of pixels"),
    "eval vlm": Command("eval_vlm:evaluate_vlm", "GQA, TextVQA, POPE, … or your own questions"),
    "eval instances": Command(
        "eval_instances:evaluate_instance_masks", "masks from boxes, as COCO"
    ),
    "eval probe": Command("eval_probe:evaluate_probe", "small heads on frozen features"),
    "export": Command("export:export", "Core ML packages, executed from the file and compared"),
    "bench latency": Command("bench:latency", "time the towers on this machine"),
    "bench students": Command("bench:students", "the demo's, reinforced against plain"),
    "bench storage": Command("bench_storage:storage", "the sidecar against Apple's layouts"),
    "bench reinforcement": Command("bench_reinforcement:reinforcement", "what it costs a step"),
    "bench step": Command("bench_step:step", "a training step against open_clip's"),
    "bench efficiency": Command("bench_efficiency:efficiency", "samples that reinforcement saves"),
    "bench engine": Command("bench_engine:engine", "zoo reinforce against the bare teacher"),
    "bench loader": Command("bench_loader:loader", "the loader against open_clip's pipeline"),
    "bench checkpoints": Command("bench_checkpoints:checkpoints", "how long training waits"),
    "bench losses": Command("bench_losses:losses", "the fused loss against plain ones"),
    "bench curation": Command("bench_curation:curation", "dedup and prune a million embeddings"),
    "bench continual": Command("bench_continual:continual", "what models forget over time"),
    "bench processes": Command("bench_processes:processes", "two processes against one"),
    "bench merging": Command("bench_merging:merging", "what SAM-CLIP keeps of its two teachers"),
    "bench ttft": Command("bench_ttft:ttft", "time to first token, beside transformers' models"),
    "bench sam-clip": Command("bench_sam_clip:sam_clip", "one pass against SAM and CLIP apart"),
    "demo": Command("demo:demo", "everything above, offline, on the tiny world"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `zoo ARGUMENTS…` and return the exit code.

    A subcommand's `--help` and flags that it does not know raise SystemExit (0 and 2), as
    argparse's do.
    """
    try:
        _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # `zoo list | head`: nobody reads on, and Python's last flush would complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (ValueError, OSError) as error:
        _complain(_sentence(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED


def _sentence(error: ValueError | OSError) -> str:
    """Ours are sentences already; the operating system's name a file and a reason."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    path = error.filename2 or error.filename
    return (
        f"{'A file' if path is None else repr(str(path))} cannot be read or written "
        f"({error.strerror}); check the path, its permissions and the space on the disk."
    )


def _complain(sentence: str) -> None:
    progress_line_off = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{progress_line_off}zoo: {sentence}\n")


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return
    name, rest = _split(arguments)
    if name not in COMMANDS:
        raise ValueError(_unknown(arguments))
    _run(name, rest)


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """Names of two words, such as `bench latency`, come before names of one."""
    pair = " ".join(arguments[:2])
    return (pair, arguments[2:]) if pair in COMMANDS else (arguments[0], arguments[1:])


def _run(name: str, arguments: list[str]) -> None:
    import tyro

    command = COMMANDS[name]
    module, _, function_name = command.function.partition(":")
    function: Callable[..., None] = getattr(
        importlib.import_module(f"zoo.commands.{module}"), function_name
    )
    if command.reads_own_arguments:
        function(arguments)
    else:
        tyro.cli(function, prog=f"zoo {name}", args=arguments)


def _overview() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: zoo COMMAND …", "", *lines, "", "`zoo COMMAND --help` shows its options.", ""]
    )


def _unknown(arguments: list[str]) -> str:
    name, pair = arguments[0], " ".join(arguments[:2])
    group = [command for command in COMMANDS if command.startswith(f"{name} ")]
    near = (
        difflib.get_close_matches(pair, group if pair != name else [], n=1)
        or group
        or difflib.get_close_matches(name, COMMANDS, n=2)
    )
    if not near:
        return f"Unknown command '{name}'; `zoo --help` lists the commands."
    *others, last = near
    choices = f"{', '.join(others)} or {last}" if others else last
    return f"Unknown command '{pair if group else name}'; did you mean {choices}?"
