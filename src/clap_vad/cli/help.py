"""The output of ``--help``: options in groups, and only the settings of the chosen method and the like."""

from __future__ import annotations

import re

import click

from .setting_options import SettingOption

__all__ = ["GroupedCommand"]

_ARGUMENTS = "clap_vad.arguments"
_GROUPS = ("Options", "Data", "Training", "Federation", "Differential privacy")
_DEFAULT = re.compile(r"\s*\[default: (.*?)(?:\.0)?\]")
"""A default, as click and we write it; whole numbers have no point."""
_EVERYWHERE = ("--json", "--debug", "--help")


class GroupedCommand(click.Command):
    """A command with help in groups.

    Settings of a method, strategy, extractor and the like are shown for those that the command line chooses, so that
    ``clap train --method clap --help`` shows CLAP's; without a choice, help shows how to see them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click; the arguments are kept for help, which is shown before they are parsed."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every group with its options."""
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
        hidden: dict[str, set[str]] = {}
        for parameter in sorted(self.get_params(ctx), key=_place):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is None:
                continue
            group = getattr(parameter, "group", "") or _GROUPS[0]
            if isinstance(parameter, SettingOption) and (chooser := self._chooser(parameter.chosen_by)) is not None:
                chosen = _chosen(ctx, chooser, parameter.chosen_by)
                owners = [owner for owner in parameter.owners if owner in chosen]
                if not chosen:
                    hidden.setdefault(parameter.chosen_by, set()).update(parameter.owners)
                if not owners:
                    continue
                group = f"Settings of {parameter.chosen_by} {', '.join(chosen)}"
                record = (record[0], parameter.help_of(owners, chosen))
            groups.setdefault(group, []).append((record[0], _DEFAULT.sub(r" [default: \1]", record[1])))
        for group, records in ((group, records) for group, records in groups.items() if records):
            with formatter.section(group):
                formatter.write_dl(records)
        for name, names in hidden.items():
            option = self._chooser(name)
            assert option is not None  # or nothing is hidden
            how = f"{option.opts[0]} NAME" if isinstance(option, click.Option) else "NAME"
            with formatter.section(f"Settings of one {name}"):
                formatter.write_text(
                    f"To see those of NAME ({', '.join(sorted(names))}): '{ctx.command_path} {how} --help'"
                )

    def _chooser(self, name: str) -> click.Parameter | None:
        """The parameter that chooses one or several registered entries."""
        several = f"{name.removesuffix('y')}ies" if name.endswith("y") else f"{name}s"
        return next((one for one in self.params if name and one.name in (name, several)), None)


def _place(parameter: click.Parameter) -> int:
    """Options of every command come after a command's own."""
    flag = parameter.opts[0]
    return _EVERYWHERE.index(flag) + 1 if flag in _EVERYWHERE else 0


def _chosen(ctx: click.Context, chooser: click.Parameter, name: str) -> list[str]:
    """The entries that the arguments choose: ``--method A``, ``--methods=A,B``, or an argument."""
    arguments: list[str] = ctx.meta.get(_ARGUMENTS, [])
    if isinstance(chooser, click.Argument):
        owners = {
            owner
            for option in ctx.command.params
            if isinstance(option, SettingOption) and option.chosen_by == name
            for owner in option.owners
        }
        return [word for word in arguments if word in owners][:1]
    values = [
        value if equals else following
        for word, following in zip(arguments, [*arguments[1:], ""], strict=True)
        for flag, equals, value in [word.partition("=")]
        if flag in chooser.opts
    ]
    # An extractor is NAME:WEIGHTS, a protocol NAME-PARTICIPANTS-SETTINGS.
    return [text.partition(":")[0] for text in values[-1].split(",") if text] if values else []
