//! Cycles in large directed graphs: no recursion, four bytes an edge.

use std::collections::{HashMap, VecDeque};

const UNSEEN: u32 = u32::MAX;
/// Nodes that the search for a shortest cycle looks at before it is content with what it has.
const EFFORT: usize = 4_000_000;

/// A graph of nodes 0, 1, ….
pub(super) struct Graph {
    /// Where each node's successors begin in `to`, and one more.
    first: Vec<u32>,
    to: Vec<u32>,
}

impl Graph {
    pub(super) fn new(nodes: usize, edges: &[(u32, u32)]) -> Graph {
        let mut first = vec![0; nodes + 1];
        for (from, _) in edges {
            first[*from as usize + 1] += 1;
        }
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let mut place = first.clone();
        let mut to = vec![0; edges.len()];
        for (from, successor) in edges {
            let place = &mut place[*from as usize];
            to[*place as usize] = *successor;
            *place += 1;
        }
        Graph { first, to }
    }

    fn successors(&self, node: u32) -> &[u32] {
        &self.to[self.first[node as usize] as usize..self.first[node as usize + 1] as usize]
    }

    /// The strongly connected components of more than one node: Tarjan's algorithm with a stack of its own.
    pub(super) fn components(&self) -> Vec<Vec<u32>> {
        let nodes = self.first.len() - 1;
        let (mut number, mut lowest, mut is_open) = (vec![UNSEEN; nodes], vec![0; nodes], vec![false; nodes]);
        let mut next_number = 0;
        // Nodes whose component is not known yet; and the path to the current node, each with its next edge.
        let (mut open, mut path) = (Vec::new(), Vec::new());
        let mut components = Vec::new();
        for root in 0..nodes as u32 {
            if number[root as usize] != UNSEEN {
                continue;
            }
            let mut entering = Some(root);
            loop {
                if let Some(node) = entering.take() {
                    number[node as usize] = next_number;
                    lowest[node as usize] = next_number;
                    is_open[node as usize] = true;
                    next_number += 1;
                    open.push(node);
                    path.push((node, self.first[node as usize]));
                }
                let Some((node, edge)) = path.last_mut() else { break };
                let at = *node as usize;
                if *edge < self.first[at + 1] {
                    let successor = self.to[*edge as usize];
                    *edge += 1;
                    if number[successor as usize] == UNSEEN {
                        entering = Some(successor);
                    } else if is_open[successor as usize] {
                        lowest[at] = lowest[at].min(number[successor as usize]);
                    }
                    continue;
                }
                path.pop();
                if let Some((before, _)) = path.last() {
                    let before = *before as usize;
                    lowest[before] = lowest[before].min(lowest[at]);
                }
                if lowest[at] == number[at] {
                    let begin = open.iter().rposition(|node| *node as usize == at).unwrap_or(0);
                    open[begin..].iter().for_each(|node| is_open[*node as usize] = false);
                    let component = open.split_off(begin);
                    if component.len() > 1 {
                        components.push(component);
                    }
                }
            }
        }
        components
    }

    /// A cycle in a component with as few edges as possible, not counting those that are `free`. There must be no cycle
    /// of free edges alone. It begins with its lowest node. In a large component it is a short one.
    pub(super) fn shortest_cycle(&self, component: &[u32], free: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let local: HashMap<u32, usize> = component.iter().enumerate().map(|(at, node)| (*node, at)).collect();
        let mut best: Option<(u32, Vec<u32>)> = None;
        let mut looked_at = 0;
        let (mut starts, mut is_tried) = (component.to_vec(), vec![false; component.len()]);
        while let Some(start) = starts.pop() {
            if looked_at > EFFORT {
                break;
            }
            if std::mem::replace(&mut is_tried[local[&start]], true) {
                continue;
            }
            looked_at += component.len();
            // Breadth first, free edges at once.
            let mut distance = vec![UNSEEN; component.len()];
            let mut reached_from = vec![start; component.len()];
            distance[local[&start]] = 0;
            let mut queue = VecDeque::from([(start, 0)]);
            while let Some((node, so_far)) = queue.pop_front() {
                looked_at += 1;
                if so_far > distance[local[&node]] || best.as_ref().is_some_and(|(length, _)| so_far >= *length) {
                    continue;
                }
                for &successor in self.successors(node) {
                    let Some(&at) = local.get(&successor) else { continue };
                    let length = so_far + u32::from(!free(node, successor));
                    if successor == start && best.as_ref().is_none_or(|(shortest, _)| length < *shortest) {
                        let mut cycle = vec![node];
                        while let Some(&last) = cycle.last().filter(|last| **last != start) {
                            cycle.push(reached_from[local[&last]]);
                        }
                        cycle.reverse();
                        // What makes it a cycle lies on it: a shorter one may begin there.
                        starts.extend(&cycle);
                        best = Some((length, cycle));
                    } else if length < distance[at] {
                        distance[at] = length;
                        reached_from[at] = node;
                        if length == so_far {
                            queue.push_front((successor, length));
                        } else {
                            queue.push_back((successor, length));
                        }
                    }
                }
            }
        }
        let mut cycle = best.map_or_else(Vec::new, |(_, cycle)| cycle);
        let begin = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
        cycle.rotate_left(begin);
        cycle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(graph: &Graph) -> Vec<Vec<u32>> {
        let mut components = graph.components();
        components.iter_mut().for_each(|component| component.sort_unstable());
        components.sort();
        components
    }

    #[test]
    fn components_are_found() {
        let none: [Vec<u32>; 0] = [];
        assert_eq!(sorted(&Graph::new(0, &[])), none);
        assert_eq!(sorted(&Graph::new(4, &[(0, 1), (1, 2), (0, 2), (3, 0)])), none);
        let two = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3), (5, 6), (1, 0)];
        assert_eq!(sorted(&Graph::new(7, &two)), [vec![0, 1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn a_ring_of_a_million_nodes_takes_no_deep_stack() {
        let ring: Vec<(u32, u32)> = (0..1_000_000).map(|node| (node, (node + 1) % 1_000_000)).collect();
        let graph = Graph::new(ring.len(), &ring);
        let components = graph.components();
        assert_eq!(components.iter().map(Vec::len).collect::<Vec<_>>(), [ring.len()]);
        assert_eq!(graph.shortest_cycle(&components[0], |_, to| to != 0).len(), ring.len());
    }

    #[test]
    fn the_shortest_cycle_is_found_with_free_edges() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 2), (4, 1)];
        let graph = Graph::new(5, &edges);
        let component = &graph.components()[0];
        assert_eq!(graph.shortest_cycle(component, |_, _| false).len(), 3);
        let free = |from, to| (from, to) == (2, 3) || (from, to) == (3, 4);
        assert_eq!(graph.shortest_cycle(component, free), [2, 3, 4]);
    }
}
