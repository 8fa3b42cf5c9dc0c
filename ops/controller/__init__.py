"""The operator: watches a Kubernetes cluster, opens Incidents, recommends. Effects live here."""
