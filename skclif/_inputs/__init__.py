"""What may come in: checks, annotations, pipelines, devices."""
