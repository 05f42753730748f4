//! How long a plan takes: 10,000 pipelines on 100 nodes, or `plan_time PIPELINES NODES`.

use std::{
    collections::HashMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use rosetta_coordinator::{
    placement::{Inputs, Limits, Mode, Node, Pipeline, Plan, RETURN_GRACE, Vanished, plan},
    records::{Desired, Incarnation, NodeIntent, PROTOCOL},
};
use rosetta_proto::NameError;

const NOW: Duration = Duration::from_hours(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse());
    let (pipelines, nodes) = (arguments.next().unwrap_or(Ok(10_000)), arguments.next().unwrap_or(Ok(100)));
    let (Ok(pipelines), Ok(nodes)) = (pipelines, nodes) else {
        eprintln!("usage: plan_time [PIPELINES [NODES]]");
        return ExitCode::FAILURE;
    };
    match measure(pipelines, nodes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(pipelines: u32, nodes: u32) -> Result<(), NameError> {
    println!("{pipelines} pipelines, {nodes} nodes; median of 9 runs");
    let mut inputs = Inputs::default();
    for number in 0..nodes {
        inputs.nodes.push(node(number, Duration::ZERO)?);
    }
    for number in 0..pipelines {
        inputs.pipelines.push(pipeline(number)?);
    }
    let all = report("placing all of them", &inputs);
    carry_out(&mut inputs, &all);
    report("nothing to do", &inputs);
    let dead = inputs.nodes.remove(0);
    inputs.vanished.push(Vanished { id: dead.id, at: NOW - RETURN_GRACE, is_confirmed_dead: true });
    let lost = report("taking one node's over", &inputs);
    carry_out(&mut inputs, &lost);
    inputs.vanished.clear();
    inputs.nodes.push(node(nodes, NOW)?);
    report("filling a node that joined", &inputs);
    inputs.mode = Mode::Rebalance;
    inputs.limits = Limits::NONE;
    report("rebalancing, dry run", &inputs);
    Ok(())
}

fn node(number: u32, open_since: Duration) -> Result<Node, NameError> {
    let id = format!("node-{number}").parse()?;
    let intent = NodeIntent::default();
    Ok(Node { id, incarnation: Incarnation(number.into()), capacity: 1.0, protocol: PROTOCOL, intent, open_since })
}

fn pipeline(number: u32) -> Result<Pipeline, NameError> {
    Ok(Pipeline {
        name: format!("pipeline_{number}").parse()?,
        desired: Desired::Start,
        pin: None,
        // Few heavy ones, many light ones.
        weight: 1.0 + 100.0 / f64::from(number + 1).powf(0.8),
        assignment: None,
        assigned_at: Duration::ZERO,
        is_orphaned: false,
        unreachable: Vec::new(),
    })
}

fn report(what: &str, inputs: &Inputs) -> Plan {
    let mut times = Vec::new();
    let mut last = Plan::default();
    for _ in 0..9 {
        let begin = Instant::now();
        last = plan(inputs, NOW);
        times.push(begin.elapsed());
    }
    times.sort();
    println!("{:>9.2?}  {what}: {} writes", times[times.len() / 2], last.writes().count());
    last
}

/// Carries a plan out that only assigns.
fn carry_out(inputs: &mut Inputs, plan: &Plan) {
    let actions: HashMap<_, _> = plan.writes().map(|action| (action.pipeline(), action)).collect();
    for pipeline in &mut inputs.pipelines {
        let Some(action) = actions.get(&pipeline.name) else { continue };
        pipeline.assignment = action.record(pipeline.assignment.as_ref());
    }
}
