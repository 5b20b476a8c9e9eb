"""A Ray cluster of two nodes on this host, each with one CPU: `python -m tests.ray_cluster`.

Prints its address. Lines on standard input remove the second node and add it again, and are
repeated when that is done; their end ends the cluster.
"""

import sys


def main() -> None:
    """Serve until standard input ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line == "remove\n":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(num_cpus=1)
        print(line, end="", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
