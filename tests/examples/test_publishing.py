"""Content is published when it has been seen live, not when it was sent off."""

from __future__ import annotations

import backout
from backout import Direction, ReviewReason, RunState
from examples.recovery.providers import Fault, mend, set_fault, site
from examples.recovery.publishing import Article, publish_article
from tests.examples.stage import Stage, on_postgres

ARTICLE = Article(slug="hello", text="Hello.")


def test_article_is_published(stage: Stage) -> None:
    """The smooth run."""
    _, run = stage.finish(publish_article, ARTICLE)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "article_published")
    assert site.live_version() == run.external_ids["build"]


def test_site_is_looked_at_until_the_article_is_live(stage: Stage) -> None:
    """The run has not succeeded before somebody has seen it."""
    set_fault("site.look", Fault.STALE, times=2)
    handle, run = stage.finish(publish_article, ARTICLE)
    assert run.state is RunState.SUCCEEDED
    assert stage.step(handle, "put_live", Direction.VERIFY).attempt == 3
    assert len(site.standing("put_live")) == 1


@on_postgres
def test_article_that_is_not_seen_live_is_in_review_until_it_is(stage: Stage) -> None:
    """Nothing is undone or repeated; somebody looks, and says that it is live."""
    set_fault("site.look", Fault.STALE)
    handle, run = stage.finish(publish_article, ARTICLE)
    assert (run.state, run.operator_state) == (
        RunState.IN_REVIEW,
        "article_published_put_live_live_unknown_in_review",
    )
    assert handle.customer_message == "Your article is published. We check that it can be seen."
    review = stage.review(handle)
    assert review.reason is ReviewReason.NOT_LIVE_AFTER_PUBLISH

    mend("site.look")
    with stage.as_current():
        backout.resolve(review.id, "done", actor="ada", reason="seen in the browser")
    run = stage.settle(handle)
    assert (run.state, run.operator_state) == (RunState.SUCCEEDED, "article_published")
    assert len(site.standing("put_live")) == 1


def test_site_is_looked_at_again_when_the_run_is_resumed(stage: Stage) -> None:
    """Whoever does not want to look in person lets the engine look again."""
    set_fault("site.look", Fault.STALE, times=3)
    handle, run = stage.finish(publish_article, ARTICLE)
    assert run.state is RunState.IN_REVIEW
    done = backout.resume(handle, actor="ada", reason="the cache is empty now")
    assert [(task.kind, task.step) for task in done.tasks] == [("verify", "put_live")]
    assert stage.settle(handle).state is RunState.SUCCEEDED
    assert len(site.standing("put_live")) == 1


def test_push_is_taken_back_when_the_build_fails(stage: Stage) -> None:
    """Nothing has changed on the site."""
    set_fault("site.build", Fault.DECLINES)
    handle, run = stage.finish(publish_article, ARTICLE)
    assert (run.state, run.operator_state) == (RunState.ROLLED_BACK, "build_failed_rolled_back")
    assert handle.customer_message == "Your article could not be published. Nothing has changed on the site."
    assert site.standing("push") + site.standing("put_live") == []
