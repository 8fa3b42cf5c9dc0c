"""Files made of code: CustomResourceDefinitions, the dashboard, alerts on midwatch itself."""
