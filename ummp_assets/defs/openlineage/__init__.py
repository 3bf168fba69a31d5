"""OpenLineage events (https://openlineage.io) of every stage and batch, to an HTTP endpoint that the settings name."""
