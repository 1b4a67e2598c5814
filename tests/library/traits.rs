//! What types promise to the compiler: it is a change of the interface where one of them does no more.

use std::error::Error;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use zmq2ws::zmq::Context;
use zmq2ws::{
    Access, AdoptError, AskError, Builder, ClientId, ClientInfo, ClientStream, ConfigError, Event,
    Gateway, Handle, InvalidOrigin, ListenAddr, Message, Origin, OriginPolicy, ParseError,
    PublishError, Request, Running, Stats, TransportStats,
};

fn goes_anywhere<T: Send + Sync + Debug + 'static>() {}
fn is_handed_over<T: Send + Debug + 'static>() {}
fn is_shown<T: Debug>() {}
fn is_error<T: Error + Send + Sync + 'static>() {}
fn survives_panics<T: UnwindSafe + RefUnwindSafe>() {}

#[test]
fn what_is_for_every_thread_goes_there() {
    goes_anywhere::<Handle>();
    goes_anywhere::<Running>();
    goes_anywhere::<(Stats, TransportStats, ClientInfo, ClientId, Access)>();
    goes_anywhere::<(ListenAddr, Origin, OriginPolicy, Message<'static>)>();
    is_handed_over::<Builder>();
    is_handed_over::<ClientStream>();
    is_shown::<(Gateway, Event<'_>, Request<'_>)>();
    is_error::<zmq2ws::Error>();
    is_error::<AdoptError>();
    is_error::<AskError>();
    is_error::<ConfigError>();
    is_error::<InvalidOrigin>();
    is_error::<ParseError>();
    is_error::<PublishError>();
    survives_panics::<Handle>();
    // The context's type is one that the host can name.
    let _: fn(Builder, &Context) -> Builder = Builder::zmq_context;
}

/// It has two of these where it is [`Send`], of which the compiler cannot choose one.
trait StaysOnItsThread<Marker> {
    fn is_meant() {}
}

impl<T> StaysOnItsThread<()> for T {}
impl<T: Send> StaysOnItsThread<u8> for T {}

#[test]
fn a_gateway_stays_on_its_thread() {
    <Gateway as StaysOnItsThread<_>>::is_meant();
    let gateway = Gateway::builder().listen(([127, 0, 0, 1], 0)).build().unwrap();
    let address = &gateway.listen_addresses()[0];
    assert!(format!("{gateway:?}").contains(&format!("{address:?}")), "{gateway:?}");
}
