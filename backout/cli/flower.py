"""`backout flower`: Flower with the tab, for those who do not start it by `celery … flower`."""

from __future__ import annotations

import click
from celery.bin.base import CLIContext
from celery.bin.celery import celery
from flower.command import flower as stock_flower

from backout.cli.door import find_app, named_database
from backout.errors import ConfigurationError
from backout.integrations.flower import install


@click.command(
    "flower",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    short_help="Start Flower with the Runs tab.",
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def flower(ctx: click.Context, options: tuple[str, ...]) -> None:
    r"""Start Flower with the Runs tab: all options are Flower's, see `--help`.

    \b
    Examples:
      celery -A proj backout flower --port=5555 --basic_auth=alice:secret
      backout --app proj flower --url_prefix=flower --backout_operators=alice
    """
    app = find_app(ctx)
    if app is None:
        raise ConfigurationError(
            problem="no Celery app is named, and Flower watches one",
            remedy="Name it: `celery -A proj backout flower …` or `backout --app proj flower …`.",
        )
    install()
    given = named_database(ctx)
    own = [f"--backout_database_url={given}"] if given else []
    parent = click.Context(celery, info_name="celery", obj=CLIContext(app=app, no_color=False, workdir=None))
    with stock_flower.make_context("flower", [*own, *options], parent=parent) as context:
        stock_flower.invoke(context)
