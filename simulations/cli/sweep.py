import click


@click.command()
def sweep() -> None:
    """Run SCENARIO."""
