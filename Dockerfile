# The image of the Django example: web pages, worker, migrations and Flower are the same image with other commands.
#
#   docker build --tag backout-shop .
#   docker build --build-arg BASE=registry.example.org/python:3.13-slim-bookworm --tag backout-shop .

ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python3 -m venv /opt/venv
# First what changes seldom. Wheels only: nothing is compiled here, so no compiler is needed, and none is attacked.
COPY constraints.txt pyproject.toml ./
COPY examples/django_shop/requirements.txt ./
RUN /opt/venv/bin/pip install --only-binary :all: --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY backout backout
# The build tool gets an environment of its own, which is gone afterwards.
RUN /opt/venv/bin/pip wheel --no-deps --wheel-dir dist . \
    && /opt/venv/bin/pip install --only-binary :all: --constraint constraints.txt \
        "$(echo dist/backout-*.whl)[django,flower,postgres]" \
    && /opt/venv/bin/pip check \
    && /opt/venv/bin/pip uninstall --yes pip

FROM ${BASE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# With a name, because Celery warns of a user or group that has none.
RUN groupadd --gid 10001 shop \
    && useradd --uid 10001 --gid shop --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin shop
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/shop
COPY examples/django_shop ./
# By number, so that Kubernetes can see that it is not root. It owns nothing in the image.
USER 10001:10001
STOPSIGNAL SIGTERM
EXPOSE 8000
CMD ["gunicorn", "shop.wsgi", "--bind", "0.0.0.0:8000", "--worker-tmp-dir", "/tmp", "--no-control-socket"]
