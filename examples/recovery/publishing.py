"""Content is published when it has been seen live, not when it was sent off.

* what failed: the build; or the site does not show what was put live
* what is known: the content was pushed; or everything was done, and nobody has seen it
* what is safe: taking the push back; or looking again. Publishing again would change nothing
* what happens: the push is taken back; or, after some looks, the run is in review
* who is asked: in the second case: whoever looks after the site (`not_live_after_publish`)
"""

from pydantic import BaseModel

from backout import CompensationContext, Pipeline, Retry, StepContext, step
from examples.recovery.providers import Declined, site


class Article(BaseModel):
    slug: str
    text: str


class Push(BaseModel):
    commit: str


class Build(BaseModel):
    build: str


class Release(BaseModel):
    id: str
    build: str


@step(
    effect="write",
    idempotent=True,  # the site knows the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="content_pushed",
    pending="push_pending",
    failed="push_failed",
)
def push_content(article: Article, ctx: StepContext) -> Push:
    pushed = site.do("push", key=ctx.idempotency_key, slug=article.slug)
    ctx.record_external_id("commit", pushed.id)
    return Push(commit=pushed.id)


@push_content.compensation(action="take the push back", idempotent=True, retry=Retry(limit=2, delay=0.5), timeout=30)
def revert_push(article: Article, push: Push | None, ctx: CompensationContext) -> None:
    found = site.find("push", key=ctx.undoes.idempotency_key)
    if found is not None:
        site.undo(found.id)


@step(
    effect="write",
    keep="nobody sees a build that is not live",
    idempotent=True,  # the site knows the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="site_built",
    pending="build_pending",
    failed="build_failed",
)
def build_site(article: Article, ctx: StepContext) -> Build:
    push: Push = ctx.output(push_content)
    built = site.do("build", key=ctx.idempotency_key, commit=push.commit)
    ctx.record_external_id("build", built.id)
    return Build(build=built.id)


@step(
    effect="publish",
    idempotent=True,  # the site knows the key
    retry=Retry(limit=2, delay=0.5, never_on=(Declined,)),
    timeout=30,
    done="article_published",
    pending="publication_pending",
    failed="publication_failed",
)
def put_live(article: Article, ctx: StepContext) -> Release:
    build: Build = ctx.output(build_site)
    release = site.do("put_live", key=ctx.idempotency_key, build=build.build)
    ctx.record_external_id("release", release.id)
    return Release(id=release.id, build=build.build)


@put_live.compensation(action="put the version before live", idempotent=True, retry=Retry(limit=2, delay=0.5))
def put_back(article: Article, release: Release | None, ctx: CompensationContext) -> None:
    found = site.find("put_live", key=ctx.undoes.idempotency_key)
    if found is not None:
        site.undo(found.id)


@put_live.verify(retry=Retry(limit=2, delay=0.5, backoff="constant"), timeout=30)  # a real site gets minutes
def is_live(article: Article, release: Release) -> bool:
    return site.live_version() == release.build


publish_article = Pipeline(
    "publish_article",
    [push_content, build_site, put_live],
    subject=lambda article: article.slug,
    customer_messages={
        "article_published_live_pending": "Your article is published and will be visible in a moment.",
        "article_published": "Your article is live.",
        "article_published_put_live_live_unknown_in_review": "Your article is published. We check that it can be seen.",
        "build_failed_rolled_back": "Your article could not be published. Nothing has changed on the site.",
    },
)
