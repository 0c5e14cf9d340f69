use super::*;
use std::collections::HashSet;

#[derive(Clone, Debug, Default, PartialEq)]
struct Job {
    polled: bool,
    follows: bool,
}

impl Item for Job {
    fn is_polled(&self) -> bool {
        self.polled
    }

    fn follows(&self) -> bool {
        self.follows
    }
}

const PLAIN: Job = Job { polled: false, follows: false };
const QUICK: Job = Job { polled: false, follows: true };

/// Takes and finishes what is next, and says in which lane it was.
fn step(order: &mut Order<Job>) -> Option<Lane> {
    let lane = order.first_ready()?;
    order.take(lane).unwrap();
    order.finish(lane);
    Some(lane)
}

#[test]
fn the_oldest_of_what_is_ready_runs_next() {
    let mut order = Order::default();
    let (a, b) = (order.open(0), order.open(0));
    assert_eq!(order.first_ready(), None);
    order.push(b, vec![], PLAIN).unwrap();
    order.push(a, vec![], PLAIN).unwrap();
    assert_eq!(order.first_ready(), Some(b));
    order.take(b).unwrap();
    order.push(b, vec![], PLAIN).unwrap();
    assert_eq!(order.first_ready(), Some(a), "a lane runs one operation at a time");
    order.finish(b);
    assert_eq!(order.ready(), 2);
}

#[test]
fn a_lane_of_higher_priority_goes_first() {
    let mut order = Order::default();
    let (low, high) = (order.open(0), order.open(-5));
    order.push(low, vec![], PLAIN).unwrap();
    order.push(high, vec![], PLAIN).unwrap();
    assert_eq!((step(&mut order), step(&mut order), step(&mut order)), (Some(high), Some(low), None));
}

#[test]
fn an_operation_waits_for_the_points_that_it_names() {
    let mut order = Order::default();
    let (a, b, c) = (order.open(0), order.open(0), order.open(0));
    let first = order.push(a, vec![], PLAIN).unwrap();
    let second = order.push(a, vec![], PLAIN).unwrap();
    let other = order.push(c, vec![], PLAIN).unwrap();
    let end = order.push(b, vec![second, other], PLAIN).unwrap();
    assert_eq!(order.before(end), Before::Ready(a), "who waits for the end of the second lane runs the first");
    assert_eq!(step(&mut order), Some(a));
    assert!(order.passed(first) && !order.passed(second));
    assert_eq!(step(&mut order), Some(a));
    assert_eq!(order.before(end), Before::Ready(c));
    order.take(c).unwrap();
    assert_eq!((order.before(end), order.first_ready()), (Before::Running(c), None));
    order.finish(c);
    assert_eq!(step(&mut order), Some(b));
    assert!(order.passed(end));
}

#[test]
fn a_lane_that_is_gone_has_passed_everything() {
    let mut order = Order::default();
    let (a, b) = (order.open(0), order.open(0));
    let point = order.push(a, vec![], PLAIN).unwrap();
    order.push(b, vec![point], PLAIN).unwrap();
    assert!(!order.close(a), "it still holds something");
    assert_eq!(order.push(a, vec![], PLAIN), None);
    assert_eq!(step(&mut order), Some(a));
    assert!(!order.exists(a) && order.passed(point));
    let reused = order.open(0);
    assert_ne!(reused, a);
    assert!(order.passed(Point { lane: a, count: 9 }), "also when its place is another's");
    assert_eq!(step(&mut order), Some(b));
    assert!(order.close(reused) && !order.close(reused));
}

#[test]
fn what_is_polled_is_ready_when_its_condition_holds() {
    let mut order = Order::default();
    let (a, b) = (order.open(0), order.open(0));
    let end = order.push(a, vec![], Job { polled: true, ..PLAIN }).unwrap();
    order.push(b, vec![], PLAIN).unwrap();
    assert!(order.polls());
    assert_eq!((step(&mut order), step(&mut order)), (Some(b), None));
    order.poll(|_| false);
    assert_eq!((order.first_ready(), order.before(end)), (None, Before::Polled));
    order.poll(|_| true);
    assert!(!order.polls());
    assert_eq!(step(&mut order), Some(a));
}

/// A model of the same: what is asked for, and which of it is done.
struct Asked {
    lane: usize,
    after: Vec<(usize, u64)>,
    count: u64,
}

/// Goes through every order in which workers can take and finish what two programs of a few operations ask for.
struct Explorer {
    asked: Vec<Asked>,
    seen: HashSet<(usize, Vec<u8>)>,
    ends: usize,
}

impl Explorer {
    /// The steps so far: 0 asks for the next operation, `1 + n` takes from or finishes lane n.
    fn explore(&mut self, steps: &mut Vec<usize>) {
        const LANES: usize = 3;
        let mut order = Order::default();
        let lanes: Vec<Lane> = (0..LANES).map(|_| order.open(0)).collect();
        let (mut pushed, mut running, mut done) = (0, [false; LANES], [0u64; LANES]);
        for &step in steps.iter() {
            match step.checked_sub(1) {
                None => {
                    let Asked { lane, after, .. } = &self.asked[pushed];
                    let after = after.iter().map(|&(lane, count)| Point { lane: lanes[lane], count }).collect();
                    order.push(lanes[*lane], after, PLAIN).unwrap();
                    pushed += 1;
                }
                Some(n) if running[n] => {
                    order.finish(lanes[n]);
                    (running[n], done[n]) = (false, done[n] + 1);
                }
                Some(n) => {
                    order.take(lanes[n]).unwrap();
                    running[n] = true;
                }
            }
        }
        let state: Vec<u8> = (0..LANES).map(|n| done[n] as u8 * 2 + u8::from(running[n])).collect();
        if !self.seen.insert((pushed, state)) {
            return;
        }
        // What the model says may run is exactly what is ready.
        let free = |asked: &&Asked| {
            let next = asked.count == done[asked.lane] + 1 && !running[asked.lane];
            next && asked.after.iter().all(|&(lane, count)| done[lane] >= count)
        };
        let may: HashSet<usize> = self.asked[..pushed].iter().filter(free).map(|asked| asked.lane).collect();
        let ready: HashSet<usize> =
            order.ready.iter().map(|(_, _, lane)| lanes.iter().position(|l| l == lane).unwrap()).collect();
        assert_eq!(ready, may, "after {steps:?}");
        let mut next: Vec<usize> = may.into_iter().chain((0..LANES).filter(|&n| running[n])).map(|n| n + 1).collect();
        if pushed < self.asked.len() {
            next.push(0);
        }
        if next.is_empty() {
            assert_eq!(done.iter().sum::<u64>() as usize, self.asked.len(), "stuck after {steps:?}");
            self.ends += 1;
        }
        for step in next {
            steps.push(step);
            self.explore(steps);
            steps.pop();
        }
    }
}

#[test]
fn in_every_schedule_all_that_may_run_is_ready_and_nothing_is_left() {
    // Lanes, and what each operation waits for, from a number: all small programs of a certain kind.
    for seed in 0..243u32 {
        let (mut asked, mut counts): (Vec<Asked>, [u64; 3]) = (Vec::new(), [0; 3]);
        let mut digits = seed;
        for n in 0..5 {
            let lane = n * 2 % 3;
            let after = match digits % 3 {
                0 => vec![],
                choice => {
                    let other = (lane + choice as usize) % 3;
                    let all = [(other, counts[other]), ((other + 1) % 3, counts[(other + 1) % 3].saturating_sub(1))];
                    all.into_iter().filter(|&(l, count)| l != lane && count > 0).collect()
                }
            };
            digits /= 3;
            counts[lane] += 1;
            asked.push(Asked { lane, after, count: counts[lane] });
        }
        let mut explorer = Explorer { asked, seen: HashSet::new(), ends: 0 };
        explorer.explore(&mut Vec::new());
        assert_eq!(explorer.ends, 1);
    }
}

#[test]
fn what_may_follow_is_taken_before_what_was_handed_over_arrives() {
    let mut order = Order::default();
    let (lane, other) = (order.open(0), order.open(0));
    let points: Vec<Point> = (0..2).map(|_| order.push(lane, vec![], QUICK).unwrap()).collect();
    let plain = order.push(lane, vec![], PLAIN).unwrap();
    let behind = order.push(other, vec![points[0]], PLAIN).unwrap();
    for count in 1..=2 {
        assert!(!order.is_wanted(lane) || count == 2);
        order.take(lane).unwrap();
        assert_eq!(order.hand(lane), count);
    }
    assert!(order.is_wanted(lane), "a plain operation waits, and another lane");
    assert_eq!(order.take(lane), None, "a plain operation waits for what was handed over");
    assert_eq!((order.before(points[1]), order.before(plain)), (Before::Handed(lane), Before::Handed(lane)));
    assert_eq!(order.before(behind), Before::Handed(lane));
    order.arrive(lane, 1);
    assert!(order.passed(points[0]) && !order.passed(points[1]));
    assert_eq!((step(&mut order), order.first_ready()), (Some(other), None));
    order.arrive(lane, 1);
    assert_eq!((step(&mut order), order.passed(plain)), (Some(lane), true));
    order.push(lane, vec![], QUICK).unwrap();
    order.take(lane).unwrap();
    order.hand(lane);
    assert!(!order.close(lane) && order.is_wanted(lane), "a lane that is closed wants to be gone");
    assert!(order.arrive(lane, 1) && !order.exists(lane));
}

#[test]
fn lanes_that_wait_for_each_other_in_turn_are_followed_to_what_was_handed_over() {
    let mut order = Order::default();
    let (one, two) = (order.open(0), order.open(0));
    let forked = order.push(one, vec![], QUICK).unwrap();
    order.take(one).unwrap();
    order.hand(one);
    let joined = order.push(two, vec![forked], QUICK).unwrap();
    let end = order.push(one, vec![joined], QUICK).unwrap();
    assert_eq!(order.before(end), Before::Handed(one));
    order.arrive(one, 1);
    assert_eq!(order.before(end), Before::Ready(two));
}
