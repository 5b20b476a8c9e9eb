"""A Ray cluster of two nodes on this host, each with one CPU: `python -m tests.ray_cluster`.

Prints its address; a line on standard input removes the second node, and its end ends the cluster.
"""

import sys


def main() -> None:
    """Serve until standard input ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
