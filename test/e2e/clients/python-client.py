"""The Python client (PyPI: kubernetes) against the API at argv[1]: prints one line per thing that works."""

import sys
import threading
import time

from kubernetes import client, dynamic, watch

configuration = client.Configuration()
configuration.host = sys.argv[1]
api = client.ApiClient(configuration)
core = client.CoreV1Api(api)
apps = client.AppsV1Api(api)

seen = []


def follow():
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=3):
        if event["object"].metadata.name == "py":
            seen.append(event["type"])


core.create_namespaced_config_map("default", {"metadata": {"name": "py"}, "data": {"a": "1"}})
follower = threading.Thread(target=follow)
follower.start()
time.sleep(1)
core.patch_namespaced_config_map("py", "default", {"data": {"a": "2"}})
core.delete_namespaced_config_map("py", "default")
follower.join()
print("watch:", " ".join(seen))
try:
    core.read_namespaced_config_map("py", "default")
except client.ApiException as error:
    print("not found:", error.status)

containers = [{"name": "c", "image": "x"}]
template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}
deployment = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "py"},
    "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
}
apps.create_namespaced_deployment("default", deployment)
print("scale:", apps.read_namespaced_deployment_scale("py", "default").spec.replicas)
print("continue:", core.list_namespace(limit=1).metadata._continue is not None)

deployments = dynamic.DynamicClient(api).resources.get(api_version="apps/v1", kind="Deployment")
wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "py"}, "spec": {"replicas": 2}}
where = {"name": "py", "namespace": "default", "field_manager": "py", "force_conflicts": True}
print("applied:", deployments.server_side_apply(body=wanted, **where).spec.replicas)
