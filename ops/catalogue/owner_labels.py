"""Labels by which exporters name the pod and the node that a series speaks of.

`exported_*` comes first: it is what the exporter itself said, where a scrape has put its own pod
into the plain name.
"""

from __future__ import annotations

POD_LABELS = ("exported_pod", "pod", "pod_name", "k8s_pod_name")
NODE_LABELS = ("node", "kubernetes_node", "k8s_node_name", "nodename")
