"""A Dockerfile's steps, carried out in an empty folder instead of a container.

Rules: only what our Dockerfile uses is understood, and anything else is an error. The image's own paths are found below
the folder; the base image's interpreter is the tests' own. What COPY may see is what the ignore file leaves.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

# Paths of the image; in a command they mean places below its folder.
_PATH = re.compile(r"(?<![\w./-])/(?=app\b|build\b|var/lib/chatkit\b)")
# Seconds for one RUN: packages are downloaded.
TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its name, its options (``--chown=…``) and the rest."""

    name: str
    options: tuple[str, ...]
    text: str


@dataclass(slots=True)
class Stage:
    """What follows one FROM."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[Step]:
        return [step for step in self.steps if step.name == name]


@dataclass(slots=True)
class Image:
    """What came of the last stage: a folder that stands for /, and how a container is started."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    workdir: str = "/"

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def read_stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile. What comes before the first FROM is ARGs."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for step in read_steps(path.read_text()):
        if step.name == "ARG":
            name, _, value = step.text.partition("=")
            arguments[name] = value
        elif step.name == "FROM":
            base, *alias = re.split(r"\s+AS\s+", step.text)
            base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base)
            stages.append(Stage(base=base, name=alias[0] if alias else ""))
        else:
            stages[-1].steps.append(step)
    return stages


def read_steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        options = tuple(re.findall(r"^--\S+|(?<=\s)--(?:from|chown)=\S+", rest)) if name == "COPY" else ()
        for option in options:
            rest = rest.replace(option, "", 1)
        yield Step(name, options, rest.strip())


def build(dockerfile: Path, context: Path, folder: Path) -> Image:
    """Carry out every stage below ``folder``; gives the last."""
    visible = copy_context(context, dockerfile.with_name(dockerfile.name + ".dockerignore"), folder / "context")
    images: dict[str, Image] = {}
    image = Image(folder)
    for number, stage in enumerate(read_stages(dockerfile)):
        image = Image(folder / f"stage{number}")
        image.root.mkdir()
        for step in stage.steps:
            carry_out(step, image, visible, images)
        images[stage.name] = image
    return image


def carry_out(step: Step, image: Image, context: Path, images: dict[str, Image]) -> None:
    match step.name:
        case "WORKDIR":
            image.workdir = step.text
            image.place(step.text).mkdir(parents=True, exist_ok=True)
        case "RUN":
            run(step.text, image)
        case "COPY":
            copy(step, image, context, images)
        case "ENV":
            image.environment |= dict(part.split("=", 1) for part in shlex.split(step.text))
        case "CMD":
            image.command = json.loads(step.text)
        case "LABEL" | "USER" | "EXPOSE":
            pass
        case _:
            raise ValueError(f"a step that this runner does not know: {step}")


def run(command: str, image: Image) -> None:
    """As RUN does: by a shell, which ends at the first failure."""
    base = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-ec", _PATH.sub(f"{image.root}/", command)],
        cwd=image.place(image.workdir),
        # Byte code is for many starts; here are few.
        env={**os.environ, "PATH": base, "PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"RUN {command}\n{done.stdout}\n{done.stderr}")


def copy(step: Step, image: Image, context: Path, images: dict[str, Image]) -> None:
    origin = next((option.partition("=")[2] for option in step.options if option.startswith("--from=")), None)
    *sources, target = step.text.split()
    place = image.place(target) if target.startswith("/") else image.place(image.workdir) / target
    for source in sources:
        path = images[origin].place(source) if origin else context / source
        if path.is_dir():
            # Two names of one file: an environment has some 200 MB, and nobody changes it in place.
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True, copy_function=os.link)
            # A script names its interpreter by a path of the stage that it was installed in.
            rewrite_scripts(place, old=str(images[origin].root) if origin else "", new=str(image.root))
        else:
            file = place / path.name if target.endswith("/") else place
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, file)


def rewrite_scripts(folder: Path, *, old: str, new: str) -> None:
    for script in folder.glob("bin/*"):
        if old and script.is_file() and not script.is_symlink():
            text = script.read_text().replace(old, new)
            mode = script.stat().st_mode
            script.unlink()
            script.write_text(text)
            script.chmod(mode)


def copy_context(context: Path, ignore: Path, folder: Path) -> Path:
    """What a builder gets to see, by the rules of an ignore file: the last one that matches decides."""
    rules = [line for line in ignore.read_text().splitlines() if line and not line.startswith("#")]
    for path in visible_files(context, context, rules):
        place = folder / path.relative_to(context)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    return folder


def visible_files(folder: Path, context: Path, rules: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(context).as_posix()
        if path.is_dir() and (is_visible(name, rules) or any(rule.startswith(f"!{name}/") for rule in rules)):
            yield from visible_files(path, context, rules)
        elif path.is_file() and is_visible(name, rules):
            yield path


def is_visible(name: str, rules: list[str]) -> bool:
    parents = [name.rsplit("/", depth)[0] for depth in range(name.count("/") + 1)]
    seen = True
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        anywhere = "**/" in rule
        if any(fnmatch(parent.rpartition("/")[2] if anywhere else parent, pattern) for parent in parents):
            seen = rule.startswith("!")
    return seen
