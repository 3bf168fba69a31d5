"""What training processes send and receive: logs and metrics, model parameters and their federated average."""
