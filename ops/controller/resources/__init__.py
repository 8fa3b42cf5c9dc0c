"""The custom resources as typed values: `Fleet`, `Incident`, `Replay` of midwatch.dev/v1alpha1.

One place for fields, bounds, defaults and their descriptions: `ops.controller.made.schema` makes
the CRDs from these classes, and `parse` reads objects through them. Statuses are written through
`to_object`, so that what is stored is what the schema says.
"""
