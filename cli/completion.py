"""emunum completion"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_EMUNUM_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog="""\b
Examples:
  emunum completion bash > ~/.local/share/bash-completion/completions/emunum
  emunum completion zsh > ~/.zfunc/_emunum      # with fpath+=~/.zfunc before compinit in ~/.zshrc
  emunum completion fish > ~/.config/fish/completions/emunum.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options, and names of formats and the like.

    Put it where the shell looks for such scripts and start a new shell.
    """
    found = get_completion_class(shell)
    assert found is not None, shell
    click.echo(found(ctx.find_root().command, {}, "emunum", VARIABLE).source())
