"""What lies between the chain and Prefect: tasks, artifacts, deployments, alarms."""
