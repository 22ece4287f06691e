# docker build -t unbabble . && docker run -p 8000:8000 -v unbabble:/data unbabble
# Prints its address with a token, or has the one of -e UNBABBLE_TOKEN. Needs no network when it runs.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN python -m venv /opt/unbabble
RUN /opt/unbabble/bin/pip install --no-cache-dir ".[web]"

FROM python:3.13-slim
COPY --from=build /opt/unbabble /opt/unbabble
RUN useradd --system --uid 10001 unbabble && install -d -m 0700 -o unbabble /data
USER unbabble
VOLUME /data
EXPOSE 8000
ENV UNBABBLE_TOKEN=auto PYTHONUNBUFFERED=1
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["/opt/unbabble/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["/opt/unbabble/bin/unbabble"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/data"]
