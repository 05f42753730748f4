use super::*;
use crate::{
    handover::{Refused, begin, cancel, grant},
    records::{Incarnation, MoveReason},
};

fn start(node: &str, incarnation: u64) -> Owner {
    Owner { node: node.parse().unwrap(), incarnation: Incarnation(incarnation) }
}

fn owned() -> Assignment {
    grant(&"orders".parse().unwrap(), None, start("a", 1))
}

fn step(assignment: &Assignment, me: &Owner) -> LocalStep {
    node_step(Some(assignment), Some(Desired::Start), me)
}

#[test]
fn a_whole_handover_is_written_by_its_two_nodes() {
    let (a, b, c) = (start("a", 1), start("b", 2), start("c", 3));
    let run = |block| LocalStep::Run { block: EpochBlock(block) };
    let preparing = begin(&owned(), b.clone(), MoveReason::Balance).unwrap();
    let LocalStep::Prepare { write: prepared } = step(&preparing, &b) else { panic!() };
    assert_eq!((step(&preparing, &a), step(&preparing, &c)), (run(1), LocalStep::Stop));
    let LocalStep::Release { write: released } = step(&prepared, &a) else { panic!() };
    assert_eq!((step(&prepared, &b), step(&prepared, &c)), (LocalStep::StandBy, LocalStep::Stop));
    let LocalStep::TakeOver { write: taken } = step(&released, &b) else { panic!() };
    assert_eq!((step(&released, &a), step(&released, &c)), (LocalStep::Stop, LocalStep::Stop));
    assert_eq!((step(&taken, &a), step(&taken, &b)), (LocalStep::Stop, run(2)));
    assert_eq!(taken, grant(&taken.pipeline, Some(&owned()), b));
}

#[test]
fn at_no_step_do_two_nodes_run_it() {
    let (a, b) = (start("a", 1), start("b", 2));
    let mut assignment = begin(&owned(), b.clone(), MoveReason::Drain).unwrap();
    for _ in 0..4 {
        let steps = [step(&assignment, &a), step(&assignment, &b)];
        assert!(steps.iter().filter(|step| matches!(step, LocalStep::Run { .. })).count() <= 1, "{steps:?}");
        let write = steps.into_iter().find_map(|step| match step {
            LocalStep::Prepare { write } | LocalStep::Release { write } | LocalStep::TakeOver { write } => Some(write),
            LocalStep::Stop
            | LocalStep::Advance { .. }
            | LocalStep::Run { .. }
            | LocalStep::Rest { .. }
            | LocalStep::StandBy => None,
        });
        let Some(write) = write else { break };
        assignment = write;
    }
    assert_eq!(assignment.owner, b);
}

#[test]
fn a_new_start_advances_what_its_older_one_owned_and_gives_a_handover_up() {
    let (old, new, b) = (start("a", 1), start("a", 9), start("b", 2));
    let preparing = begin(&owned(), b.clone(), MoveReason::Drain).unwrap();
    for assignment in [owned(), preparing.clone(), prepared(&preparing, &b).unwrap()] {
        let LocalStep::Advance { write } = step(&assignment, &new) else { panic!("{assignment:?}") };
        assert_eq!(write, Assignment { block: EpochBlock(2), owner: new.clone(), handover: None, ..owned() });
        assert_eq!(step(&write, &new), LocalStep::Run { block: EpochBlock(2) });
    }
    let released = released(&prepared(&preparing, &b).unwrap(), &old).unwrap();
    assert_eq!(step(&released, &new), LocalStep::Stop, "it was let go before");
    let to_old = begin(&grant(&released.pipeline, None, b.clone()), old, MoveReason::Drain).unwrap();
    assert_eq!(step(&to_old, &new), LocalStep::Stop, "it was the older start that was asked");
}

#[test]
fn a_paused_pipeline_has_an_owner_that_rests_and_a_deleted_one_has_none() {
    let a = start("a", 1);
    let rest = LocalStep::Rest { block: EpochBlock(1) };
    assert_eq!(node_step(Some(&owned()), Some(Desired::Pause), &a), rest);
    assert_eq!(node_step(Some(&owned()), None, &a), LocalStep::Stop);
    assert_eq!(node_step(None, Some(Desired::Start), &a), LocalStep::Stop);
    let b = start("b", 2);
    let prepared = prepared(&begin(&owned(), b.clone(), MoveReason::Drain).unwrap(), &b).unwrap();
    assert!(matches!(node_step(Some(&prepared), Some(Desired::Pause), &a), LocalStep::Release { .. }));
}

#[test]
fn a_block_goes_beyond_what_a_destination_knows() {
    let (a, b) = (start("a", 1), start("b", 2));
    assert_eq!(advance(&owned(), &a, Epoch(41_999)).map(|next| next.block), Some(EpochBlock(42)));
    assert_eq!(advance(&owned(), &a, Epoch(7)).map(|next| next.block), Some(EpochBlock(2)));
    assert_eq!(advance(&owned(), &b, Epoch(41_999)), None);
    let preparing = begin(&owned(), b.clone(), MoveReason::Drain).unwrap();
    let advanced = advance(&preparing, &a, Epoch::NONE).unwrap();
    assert_eq!(advanced.handover, preparing.handover, "a used up block is no reason to stay");
}

#[test]
fn a_handover_begins_once_and_to_another_node() {
    let (a, b) = (start("a", 5), start("b", 2));
    let preparing = begin(&owned(), b.clone(), MoveReason::Asked).unwrap();
    assert!(matches!(begin(&preparing, b, MoveReason::Asked), Err(Refused::UnderWay(_))));
    assert!(matches!(begin(&owned(), a, MoveReason::Asked), Err(Refused::OwnsIt(..))));
    assert_eq!(cancel(&preparing), owned());
}
