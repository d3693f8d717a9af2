"""The order of the examples: what a reader should see first comes first."""

ORDER = (
    "plot_baseline_and_bottleneck.py",
    "plot_concepts_from_prompts.py",
    "plot_correct_concepts.py",
    "plot_rows_behind_a_mistake.py",
    "plot_repair.py",
    "plot_first_audit.py",
    "plot_reweight_grid_search.py",
)


class InOrderOfLearning:
    """A sort key of sphinx-gallery.

    Parameters
    ----------
    source : str
        The folder of the examples.
    """

    def __init__(self, source):
        self.source = source

    def __call__(self, name):
        """Return the place of an example; one without a place ends the build."""
        return ORDER.index(name)
