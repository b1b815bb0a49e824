"""An upstream generated from the original protocol: answers the sender and broadcasts, in turn."""

import time
from concurrent import futures

import grpc
import original_pb2 as pb
import original_pb2_grpc


class Service(original_pb2_grpc.UpstreamPeerServiceServicer):
    def ready(self, request, context):
        return pb.ReadyResult(time=time.ctime(), ready=True)

    def live(self, requests, context):
        for _ in requests:
            yield pb.LiveResult(time=time.ctime(), live=True)

    def bidirectionalStreaming(self, requests, context):
        for number, request in enumerate(requests, 1):
            # What we send beyond the original must not be there for one that did not ask for it.
            unknown = len(request.SerializeToString()) - len(
                pb.InputStreamRequest(
                    time=request.time, client_uuid=request.client_uuid, payload=request.payload
                ).SerializeToString()
            )
            text = b"python %d: %s, %d unknown bytes" % (number, request.payload, unknown)
            if number % 2 == 1:
                yield pb.OutputStreamRequest(time=time.ctime(), client_uuid=request.client_uuid, payload=text)
            else:
                yield pb.OutputStreamRequest(time=time.ctime(), broadcast=pb.OutputStreamRequest.BROADCAST_ALL, payload=text)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
original_pb2_grpc.add_UpstreamPeerServiceServicer_to_server(Service(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
