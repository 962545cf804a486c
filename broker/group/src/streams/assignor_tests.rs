use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// `1|0:2,1:3s|m0@p0=0-0;1-1 m1@p1=;`: standbys, subtopologies with their tasks (`s`: stateful), and members with their
/// processes and the active and standby tasks that they had.
#[derive(Clone, Debug)]
struct Case {
    standbys: usize,
    tasks: BTreeMap<String, TaskCount>,
    members: BTreeMap<MemberId, (String, StreamsTasks)>,
}

fn read(text: &str) -> Case {
    let mut fields = text.split('|');
    let mut field = || fields.next().expect("a field");
    let standbys = field().parse().expect("a number");
    let subtopology = |text: &str| {
        let (id, tasks) = text.split_once(':').expect("id:tasks");
        let is_stateful = tasks.ends_with('s');
        (id.to_owned(), TaskCount { tasks: tasks.trim_end_matches('s').parse().expect("a number"), is_stateful })
    };
    let tasks = field().split(',').map(subtopology).collect();
    let member = |text: &str| {
        let (place, had) = text.split_once('=').expect("place=tasks");
        let (id, process) = place.split_once('@').expect("member@process");
        (MemberId::from(id), (process.to_owned(), kinds(had)))
    };
    let members = field().split(' ').map(member).collect();
    Case { standbys, tasks, members }
}

/// `0-0,0-1;1-0`: active and standby.
fn kinds(text: &str) -> StreamsTasks {
    let (active, standby) = text.split_once(';').expect("active;standby");
    let tasks = |text: &str| {
        let mut tasks = Tasks::new();
        for task in text.split(',').filter(|task| !task.is_empty()) {
            let (id, partition) = task.split_once('-').expect("a task");
            tasks.entry(id.to_owned()).or_default().insert(partition.parse().expect("a number"));
        }
        tasks
    };
    StreamsTasks { active: tasks(active), standby: tasks(standby), warmup: Tasks::new() }
}

impl Case {
    fn assign(&self) -> BTreeMap<MemberId, StreamsTasks> {
        let members =
            self.members.iter().map(|(id, (process, before))| (id, MemberSpec { process, before: Some(before) }));
        assign(&members.collect(), &self.tasks, self.standbys)
    }
}

fn written(assignment: &BTreeMap<MemberId, StreamsTasks>) -> String {
    let names = |tasks: &Tasks| {
        each(tasks).map(|task| format!("{}-{}", task.subtopology, task.partition)).collect::<Vec<_>>().join(",")
    };
    let member =
        |(id, tasks): (&MemberId, &StreamsTasks)| format!("{id}={};{}", names(&tasks.active), names(&tasks.standby));
    assignment.iter().map(member).collect::<Vec<_>>().join(" ")
}

/// Each task is active once, and standby at as many other processes as there are, up to what is wanted.
fn check(case: &Case, assignment: &BTreeMap<MemberId, StreamsTasks>) -> Result<(), String> {
    let processes: BTreeSet<&String> = case.members.values().map(|(process, _)| process).collect();
    for (id, count) in &case.tasks {
        for partition in 0..count.tasks {
            let has = |tasks: &Tasks| tasks.get(id).is_some_and(|all| all.contains(&partition));
            let at = |active: bool| {
                let all = assignment
                    .iter()
                    .filter(move |(_, tasks)| has(if active { &tasks.active } else { &tasks.standby }));
                all.map(|(member, _)| &case.members[member].0).collect::<Vec<_>>()
            };
            let (active, standby) = (at(true), at(false));
            let copies: BTreeSet<_> = active.iter().chain(&standby).collect();
            let wanted = if count.is_stateful { case.standbys.min(processes.len() - 1) } else { 0 };
            if active.len() != 1 || standby.len() != wanted || copies.len() != 1 + wanted {
                return Err(format!("{id}-{partition}: active at {active:?}, standby at {standby:?}"));
            }
        }
    }
    Ok(())
}

/// What Kafka 4.3.1's class decided in cases at random: tasks stay, a newcomer gets a share, standby tasks move as
/// little as they can. Cases are left out where the order of Kafka's hash tables decides otherwise than the order of
/// names.
#[test]
fn tasks_are_assigned_as_kafka_does() {
    let cases = [
        // One member has everything, and nobody to copy it.
        ("2|0:2s,1:1|m0@p0=;", "m0=0-0,0-1,1-0;"),
        (
            "2|0:5s|m1@p3=0-0,0-1;0-4 m3@p1=0-2,0-4;0-0,0-1,0-3 n0@p3=0-3;0-2 n1@p4=;",
            "m1=0-0,0-1;0-4 m3=0-2;0-0,0-1,0-3,0-4 n0=0-3;0-2 n1=0-4;0-0,0-1,0-2,0-3",
        ),
        (
            "2|0:2s,1:1,2:5|m0@p2=0-0,2-2,2-4; m1@p2=1-0,2-1,2-3; m2@p2=0-1,2-0;",
            "m0=0-0,2-2,2-4; m1=1-0,2-1,2-3; m2=0-1,2-0;",
        ),
        (
            "1|0:5,1:6|m0@p0=0-0,1-1; m5@p2=0-2,1-3,1-4; n0@p3=0-3,1-0; n1@p3=;",
            "m0=0-0,1-1,1-2; m5=0-2,1-3,1-4; n0=0-3,1-0,1-5; n1=0-1,0-4;",
        ),
        (
            "1|0:6s|m0@p0=0-0,0-2,0-4;0-1,0-3 m1@p1=0-1,0-3;0-0,0-2,0-4 n0@p2=;",
            "m0=0-0,0-2;0-3,0-4,0-5 m1=0-1,0-3;0-0,0-2 n0=0-4,0-5;0-1",
        ),
        ("1|0:6|m0@p0=0-0,0-1,0-2; n1@p1=;", "m0=0-0,0-1,0-2; n1=0-3,0-4,0-5;"),
        ("2|0:7,1:1s|m1@p1=0-0,0-4; m2@p1=0-2,1-0; n0@p3=;", "m1=0-0,0-4,0-5; m2=0-2,1-0; n0=0-1,0-3,0-6;1-0"),
        ("1|0:1s,1:2s|m0@p0=0-0;1-0 m3@p0=;1-1 m4@p2=1-0;0-0", "m0=0-0;1-0 m3=1-1; m4=1-0;0-0,1-1"),
        ("1|0:2s,1:2|m2@p0=;0-1 m3@p3=1-1; m4@p2=1-0;", "m2=0-0,0-1; m3=1-1;0-0 m4=1-0;0-1"),
        ("2|0:2s,1:1|m0@p0=0-0,0-1,1-0; n0@p1=;", "m0=0-0,1-0;0-1 n0=0-1;0-0"),
        ("1|0:5|m0@p1=0-0,0-4; m1@p2=0-1,0-3; m2@p1=0-2; n0@p2=;", "m0=0-0,0-4; m1=0-1,0-3; m2=0-2; n0=;"),
        ("2|0:2s|m0@p0=0-0,0-1; n0@p0=;", "m0=0-0; n0=0-1;"),
        (
            "2|0:2s|m0@p3=0-1; m1@p1=0-0; m3@p5=;0-0,0-1 m4@p2=;0-1 m5@p3=;0-0 n1@p5=;",
            "m0=0-1; m1=0-0; m3=;0-1 m4=;0-1 m5=;0-0 n1=;0-0",
        ),
        (
            "2|0:3,1:5s,2:3|m0@p0=0-0,0-1,0-2,1-0,1-1,1-2,1-3,1-4,2-0,2-1,2-2; n0@p1=;",
            "m0=0-0,0-1,1-0,1-1,2-0,2-1;1-2,1-3,1-4 n0=0-2,1-2,1-3,1-4,2-2;1-0,1-1",
        ),
        (
            "2|0:3s,1:5s,2:2|m0@p0=0-0,1-0,1-1,1-2,1-3,1-4,2-0,2-1; n0@p1=;",
            "m0=0-0,1-0,1-1,2-0,2-1;0-1,0-2,1-2,1-3,1-4 n0=0-1,0-2,1-2,1-3,1-4;0-0,1-0,1-1",
        ),
        (
            "2|0:5s|m1@p2=0-2;0-0,0-3 m3@p2=0-4;0-1 m4@p1=0-0;0-1,0-2 n0@p1=0-3;0-4 n1@p1=;",
            "m1=0-2;0-0,0-3 m3=0-4;0-1 m4=0-0;0-2 n0=0-3;0-4 n1=0-1;",
        ),
        (
            "2|0:6s|m0@p1=0-0,0-4;0-3 m1@p2=0-1,0-5;0-2 m2@p2=0-3;0-0,0-4 m3@p1=0-2;0-1,0-5",
            "m0=0-0,0-4;0-3 m1=0-1,0-5;0-2 m2=0-3;0-0,0-4 m3=0-2;0-1,0-5",
        ),
        ("2|0:4|m0@p1=0-0; m2@p1=0-3; m3@p1=0-2; n0@p2=;", "m0=0-0; m2=0-3; m3=0-2; n0=0-1;"),
        ("2|0:3|m0@p0=0-0,0-2; m1@p0=0-1;", "m0=0-0,0-2; m1=0-1;"),
        ("2|0:4s|m1@p3=0-1; m2@p3=;0-0 m3@p0=0-0;0-1", "m1=0-1;0-3 m2=0-2;0-0 m3=0-0,0-3;0-1,0-2"),
        (
            "2|0:6,1:1,2:3s|m0@p0=0-0,0-4,2-0;2-2 m1@p0=0-2,0-5,2-1; m2@p1=0-1,0-3,1-0,2-2;2-0,2-1",
            "m0=0-0,0-4,2-0;2-2 m1=0-2,0-5,2-1; m2=0-1,0-3,1-0,2-2;2-0,2-1",
        ),
        ("0|0:5s,1:3s,2:2|m0@p0=0-0,0-4,1-2; m2@p0=0-2,1-0,2-0;", "m0=0-0,0-1,0-4,1-1,1-2; m2=0-2,0-3,1-0,2-0,2-1;"),
        ("0|0:4s|m0@p0=0-0,0-1,0-2,0-3; n0@p0=;", "m0=0-0,0-1; n0=0-2,0-3;"),
        ("0|0:1s,1:2s,2:2|m0@p1=0-0; m1@p1=1-1,2-1; m2@p1=1-0,2-0; n0@p1=;", "m0=0-0; m1=1-1; m2=1-0,2-0; n0=2-1;"),
        (
            "0|0:5s|m0@p5=0-1; m1@p5=0-4; m2@p2=0-0; m3@p5=; m5@p5=0-3; n0@p2=;",
            "m0=0-1; m1=0-4; m2=0-0; m3=; m5=0-3; n0=0-2;",
        ),
        ("0|0:1s,1:5|m0@p2=1-0,1-2; m1@p1=1-1,1-3; m2@p0=0-0,1-4; n0@p0=;", "m0=1-0,1-2; m1=1-1,1-3; m2=0-0; n0=1-4;"),
        (
            "0|0:2s,1:3|m0@p4=0-1; m1@p1=0-0,1-2; m2@p2=1-0; m4@p3=1-1; n1@p1=;",
            "m0=0-1; m1=0-0; m2=1-0; m4=1-1; n1=1-2;",
        ),
        (
            "0|0:3,1:6s|m0@p0=0-0,1-0,1-2,1-4; m1@p1=0-1,1-1,1-3,1-5; n0@p2=;",
            "m0=0-0,1-0,1-2; m1=0-1,1-1,1-3; n0=0-2,1-4,1-5;",
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(written(&read(input).assign()), expected, "{input}");
    }
}

#[test]
fn without_members_there_is_nothing_to_assign() {
    let tasks = [("0".to_owned(), TaskCount { tasks: 3, is_stateful: true })].into();
    assert_eq!(assign(&BTreeMap::new(), &tasks, 1), BTreeMap::new());
}

/// Kafka 4.3.1 looks at the load of all former standbys, but for a second copy only whether the first of them has the
/// task: it forgets the second former standby. Here the second copy stays as well.
#[test]
fn both_former_standbys_keep_their_copies() {
    let case = read("2|0:1s|m0@p0=0-0; m1@p1=;0-0 m2@p2=;0-0 m3@p3=;");
    assert_eq!(written(&case.assign()), "m0=0-0; m1=;0-0 m2=;0-0 m3=;");
}

prop_compose! {
    fn cases()(
        standbys in 0usize..3,
        tasks in prop::collection::vec((0i32..7, any::<bool>()), 1..4),
        processes in prop::collection::vec(0usize..5, 1..7),
        had in prop::collection::vec((0usize..7, any::<bool>(), 0usize..4, 0i32..8), 0..12),
    ) -> Case {
        let mut active = BTreeSet::new();
        let mut members: BTreeMap<MemberId, (String, StreamsTasks)> = BTreeMap::new();
        for (number, process) in processes.iter().enumerate() {
            let id = MemberId::from(format!("m{number}").as_str());
            members.insert(id, (format!("p{process}"), StreamsTasks::default()));
        }
        // Also tasks that there are no longer. No task was active twice.
        for (number, is_active, subtopology, partition) in had {
            let Some((_, had)) = members.get_mut(format!("m{number}").as_str()) else { continue };
            let is_active = is_active && active.insert((subtopology, partition));
            let tasks = if is_active { &mut had.active } else { &mut had.standby };
            tasks.entry(subtopology.to_string()).or_default().insert(partition);
        }
        let count = |(tasks, is_stateful): (i32, bool)| TaskCount { tasks, is_stateful };
        let tasks = tasks.into_iter().enumerate().map(|(id, tasks)| (id.to_string(), count(tasks))).collect();
        Case { standbys, tasks, members }
    }
}

proptest! {
    #[test]
    fn every_task_is_active_once_and_copied_elsewhere(case in cases()) {
        let assignment = case.assign();
        prop_assert!(assignment.keys().eq(case.members.keys()));
        prop_assert_eq!(check(&case, &assignment), Ok(()));
        for tasks in assignment.values() {
            let counted = |task: Task<'_>| task.partition < case.tasks[task.subtopology].tasks;
            prop_assert!(each(&tasks.active).chain(each(&tasks.standby)).all(counted));
        }
    }

    /// Nothing moves without a reason. What was standby before may give a member more than its share, which the next
    /// assignment evens out, as Kafka's does.
    #[test]
    fn the_same_again_is_the_same(case in cases()) {
        let mut case = Case { standbys: 0, ..case };
        let mut assign = || {
            let assignment = case.assign();
            for (id, tasks) in &assignment {
                case.members.get_mut(id).expect("a member").1 = tasks.clone();
            }
            written(&assignment)
        };
        let _ = assign();
        let even = assign();
        prop_assert_eq!(assign(), even);
    }
}
