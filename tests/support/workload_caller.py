"""A workload that makes one call of the Workload API with grpcio, and prints each answer as a line of JSON.

``workload_caller.py SOCKET METHOD [key=value ...]``: ``audience=a,b``, ``spiffe_id=...``, ``svid=...``, ``header=no``
(any other value is sent as the header), ``count=N`` (answers to wait for; 1), ``timeout=SECONDS``, ``as=UID`` (become
that user and group first).
"""

import json
import os
import sys
from typing import Any

import grpc
import grpc._channel  # else it is loaded late, when another user may not be able to read its folder
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from spiffe._proto import workload_pb2 as pb

REQUESTS: dict[str, tuple[type[Any], type[Any], bool]] = {
    "FetchX509SVID": (pb.X509SVIDRequest, pb.X509SVIDResponse, True),
    "FetchX509Bundles": (pb.X509BundlesRequest, pb.X509BundlesResponse, True),
    "FetchJWTSVID": (pb.JWTSVIDRequest, pb.JWTSVIDResponse, False),
    "FetchJWTBundles": (pb.JWTBundlesRequest, pb.JWTBundlesResponse, True),
    "ValidateJWTSVID": (pb.ValidateJWTSVIDRequest, pb.ValidateJWTSVIDResponse, False),
}


def say(answer: dict[str, Any]) -> None:
    """Print a line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make the call."""
    socket, method = sys.argv[1:3]
    given = dict(argument.split("=", 1) for argument in sys.argv[3:])
    header = given.pop("header", "true")
    if user := int(given.pop("as", "0")):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    count, timeout = int(given.pop("count", "1")), float(given.pop("timeout", "15"))
    request_kind, response_kind, is_stream = REQUESTS.get(method, REQUESTS["FetchX509SVID"])
    request = request_kind()
    for name, value in given.items():
        if name == "audience" and method == "FetchJWTSVID":
            request.audience.extend(value.split(","))
        else:
            setattr(request, name, value)
    metadata = [] if header == "no" else [("workload.spiffe.io", value) for value in header.split(",")]
    with grpc.insecure_channel(socket) as channel:
        make = channel.unary_stream if is_stream else channel.unary_unary
        stub = make(
            f"/SpiffeWorkloadAPI/{method}",
            request_serializer=request_kind.SerializeToString,
            response_deserializer=response_kind.FromString,
        )
        try:
            answer = stub(request, metadata=metadata, timeout=timeout)
            for response in answer if is_stream else [answer]:
                say(MessageToDict(response, preserving_proto_field_name=True))
                count -= 1
                if not count:
                    break
        except grpc.RpcError as error:
            say({"code": error.code().name, "details": error.details()})


main()
