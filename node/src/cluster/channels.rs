//! Connections to other nodes, kept from call to call.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// A peer that died without a word is noticed after twice this.
const PING_EVERY: Duration = Duration::from_secs(2);

/// One channel for each address; it connects when it is used, and again when it broke.
#[derive(Default)]
pub struct Channels(Mutex<HashMap<String, Channel>>);

impl Channels {
    /// # Errors
    /// The address is none.
    pub fn to(&self, address: &str) -> Result<Channel, String> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| format!("'{address}' is not an address: give HOST:PORT in ROSETTA_ADVERTISE_ADDR"))?
            .connect_timeout(CONNECTED_WITHIN)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Forgets the nodes that are gone.
    pub fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|address, _| is_known(address));
    }
}
