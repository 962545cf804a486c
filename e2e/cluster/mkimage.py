#!/usr/bin/env python3
"""Make an image tar that `ctr images import`, `kind load image-archive` and `docker load` read, with no registry.

mkimage.py [--user UID] OUT.tar NAME:TAG[,NAME:TAG]... ENTRYPOINT FILE=PATH-IN-IMAGE...
"""
import argparse, hashlib, io, json, platform, tarfile

def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))

def plain(info):  # not info.replace(): it copies the whole tar, once a file
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info

parser = argparse.ArgumentParser()
parser.add_argument("--user", default="")
parser.add_argument("out")
parser.add_argument("names")
parser.add_argument("entrypoint")
parser.add_argument("files", nargs="+")
arguments = parser.parse_args()
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    for file in arguments.files:
        src, dst = file.split("=")
        tar.add(src, dst.lstrip("/") or ".", filter=plain)
layer = layer.getvalue()
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux",
    "config": {"Entrypoint": [arguments.entrypoint] if arguments.entrypoint else None, "User": arguments.user,
               "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
}).encode()
manifest = [{"Config": "config.json", "RepoTags": arguments.names.split(","), "Layers": ["layer.tar"]}]
with tarfile.open(arguments.out, "w") as tar:
    add(tar, "config.json", config)
    add(tar, "layer.tar", layer)
    add(tar, "manifest.json", json.dumps(manifest).encode())
