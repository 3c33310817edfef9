"""Reading the cluster, Kafka and the pods: everything that a plan looks at."""
