//! What is shown in the made-up world.

mod day;
mod failures;
mod random;
mod scene;
mod team;
mod team_random;
mod timelines;
