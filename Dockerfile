# docker build -t sam-edge . && docker run --rm -p 8000:8000 -v "$PWD:/photos" sam-edge
# It prints an address with a token in it. Any other command: docker run --rm sam-edge doctor
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /src

FROM ${BASE}
RUN --mount=type=bind,from=build,source=/wheel,target=/wheel \
    pip install --no-cache-dir "$(ls /wheel/*.whl)[cpu,serve,text]"
RUN useradd --create-home --uid 1000 sam
# By number, so that a cluster can see that it is not root.
USER 1000
ENV SAM_EDGE_CACHE=/home/sam/.cache/sam-edge
EXPOSE 8000
ENTRYPOINT ["sam-edge"]
CMD ["serve", "/photos", "--host", "0.0.0.0", "--port", "8000", "--token", "auto", "--no-browser"]
