//! Requests, in the engine.

use glue_net::Instant;
use glue_topics::{Answer, AnswerError, Ask, CallEvent, CallId, RequestError, RequestId, ServeError, ServiceId};

use crate::engine::Engine;
use crate::event::Event;

impl Engine {
    /// Sends a request; see [`glue_topics::Topics::request`]. Its answers come as [`Event::Call`].
    ///
    /// # Errors
    /// [`RequestError`]; nothing was sent.
    pub fn request(&mut self, now: Instant, ask: &Ask<'_>) -> Result<CallId, RequestError> {
        let fits = ask.payload.len() <= self.config.topics.max_message_bytes;
        if fits && !self.has_memory_for(now, ask.payload.len()) {
            return Err(RequestError::Full);
        }
        let id = self.topics.request(now, ask)?;
        self.queue_cargo(now);
        Ok(id)
    }

    /// Gives a request up.
    pub fn cancel(&mut self, id: CallId) {
        self.topics.cancel(id);
    }

    /// How many responders of a topic can be reached.
    #[must_use]
    pub fn responders(&self, topic: &str, type_name: &str) -> usize {
        self.topics.responders(topic, type_name)
    }

    /// How many members of a group can be reached, given as it is subscribed.
    #[must_use]
    pub fn members(&self, shared_filter: &str) -> usize {
        self.topics.responders(shared_filter, "")
    }

    /// Serves a topic; see [`glue_topics::Topics::serve`].
    ///
    /// # Errors
    /// [`ServeError`]; nothing was changed.
    pub fn respond(&mut self, topic: &str, type_name: &str) -> Result<ServiceId, ServeError> {
        self.topics.serve(topic, type_name)
    }

    /// Ends a service.
    pub fn unserve(&mut self, id: ServiceId) {
        self.topics.unserve(id);
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`AnswerError`] if nobody waits for the answer, or it can not be sent; who asked is then told so.
    pub fn answer(&mut self, now: Instant, id: RequestId, answer: Answer<'_>) -> Result<(), AnswerError> {
        if let Answer::Reply(data) = answer
            && data.len() <= self.config.topics.max_message_bytes
            && !self.has_memory_for(now, data.len())
        {
            self.topics.answer(id, Answer::Failed("no memory is left for the reply"))?;
            return Err(AnswerError::NoMemory);
        }
        let result = self.topics.answer(id, answer);
        self.queue_cargo(now);
        result
    }

    /// The application is done with a share of a group's messages. `false`: it was withdrawn before.
    pub fn done(&mut self, now: Instant, id: RequestId) -> bool {
        let was_there = self.topics.done(id);
        self.queue_cargo(now);
        was_there
    }

    /// Whether a share is still to be processed here.
    #[must_use]
    pub fn is_waiting(&self, id: RequestId) -> bool {
        self.topics.is_waiting(id)
    }

    /// Requests of this endpoint that wait for answers, and requests of all that wait here to be answered.
    #[must_use]
    pub fn open_calls(&self) -> (usize, usize) {
        self.topics.open_calls()
    }

    /// Passes on what happened to requests.
    #[inline]
    pub(crate) fn deliver_calls(&mut self) {
        while let Some(event) = self.topics.poll_call() {
            let (from, bytes) = lent(&event);
            self.roster.lend(from, bytes);
            self.events.push_back(Event::Call(event));
        }
        if self.topics.take_share_room() {
            self.events.push_back(Event::Writable);
        }
    }
}

/// What an event lends to the application, and of which peer.
pub(crate) fn lent(event: &CallEvent) -> (Option<glue_net::PeerId>, usize) {
    match event {
        CallEvent::Answer { result: Ok(reply), .. } => (reply.from(), reply.bytes()),
        CallEvent::Request(asked) => (asked.from(), asked.bytes()),
        CallEvent::Share { batch, .. } => (batch.from(), batch.bytes()),
        _ => (None, 0),
    }
}
