"""The parts of one opening of a pipeline: elements, probes, queues, and what feeds or breaks it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge_runtime.gst import Gst, bound_appsink, set_if_present
from edge_runtime.sources.elements import InstalledElements, decoder_settings
from edge_runtime.sources.faults import BusWatch, parse_pipeline
from edge_runtime.sources.feed import Feeder
from edge_runtime.sources.placement import NetworkPlacement
from edge_runtime.sources.plan import SOURCE_NAME
from edge_runtime.sources.stamping import Stamping, presentation_time
from edge_runtime.sources.surfaces import DefaultBuffers, SurfaceFrames
from edge_runtime.sources.tail import DECODED, NET, PICTURE, PROOF, SURFACE, tail_launch

if TYPE_CHECKING:
    from edge_runtime.sources.fault_element import FaultInjector
    from edge_runtime.sources.fault_script import FaultOpening
    from edge_runtime.sources.ledger import FrameLedger
    from edge_runtime.sources.plan import SourcePlan
    from edge_runtime.video import SourceRequest

POLL_S = 0.1
"""How long a wait lasts at most before Python may act on Ctrl-C."""

END_TIMEOUT_S = 2.0
"""How long a capture service may take to accept the end of its stream."""

EVERY_BUFFERS = 3
"""Frames that wait for a slow consumer when none is dropped."""

PICTURE_SURPLUS = 2
"""Pictures that wait beyond the network's frames: one under way, one to spare."""


class OpenPipeline:
    """The parts of an open pipeline."""

    def __init__(self, plan: SourcePlan, request: SourceRequest, ledger: FrameLedger) -> None:
        opening = plan.faults.open(plan.uri) if plan.faults is not None else None
        tail = tail_launch(
            request,
            InstalledElements(),
            hardware=plan.pictures is None,
            surfaces=request.bridge is not None and request.bridge.trust.state != "refused",
        )
        self.all = parse_pipeline(plan.uri, f"{plan.launch} ! {tail}")
        self.all.connect("deep-element-added", _set_up_decoder)
        self.net = self.all.get_by_name(NET)
        surface = self.all.get_by_name(SURFACE)
        self.lead = surface or self.net
        """The appsink whose frames are delivered; what the others hold belongs to them."""
        self.picture = self.all.get_by_name(PICTURE)
        """None unless pictures were asked for."""
        self.decoded = self.all.get_by_name(DECODED)
        self.bus = BusWatch(self.all.get_bus())
        self.feeder = Feeder(plan.pictures) if plan.pictures is not None else None
        self.injector = _inject(self.all, opening) if opening is not None else None
        # Stamps are compared with time.monotonic_ns(), and an audio clock would not do for that.
        self.all.use_clock(Gst.SystemClock.obtain())
        source = self.all.get_by_name(SOURCE_NAME)
        for name, value in plan.properties.items():
            set_if_present(source, name, value)
        if self.feeder is not None:
            self.feeder.attach(source)
        self.placement = NetworkPlacement(request, surfaces=surface is not None)
        self.surfaces: SurfaceFrames | None = None
        if surface is not None and request.bridge is not None:
            valve = self.all.get_by_name(PROOF)
            self.surfaces = SurfaceFrames(
                request.bridge,
                self.placement,
                close_default=lambda closed: valve.set_property("drop", closed),
                default=DefaultBuffers(self.net).take,
            )
        self.stamping = Stamping(self.all, plan, ledger, self.placement)

    def raise_defect(self) -> None:
        """Raise what a streaming thread ran into, if anything."""
        for part in (self.stamping, self.injector):
            if part is not None and part.failure is not None:
                raise part.failure

    def bound(self, *, newest: bool) -> None:
        """Give both appsinks their queues."""
        buffers = 1 if newest else EVERY_BUFFERS
        for sink in (self.net, self.picture, self.lead):
            if sink is not None:
                surplus = 0 if sink is self.lead else PICTURE_SURPLUS
                bound_appsink(sink, buffers + surplus, newest=newest)

    def end_stream(self) -> None:
        """Send an end of stream through and wait for it, but not for long."""
        self.bound(newest=True)  # a full queue would hold it up
        self.all.send_event(Gst.Event.new_eos())
        deadline = time.monotonic() + END_TIMEOUT_S
        while not self.bus.ended and time.monotonic() < deadline:
            time.sleep(POLL_S / 10)
            self.bus.drain()

    def close(self) -> None:
        """Stop all streaming threads and give everything back."""
        if self.feeder is not None:
            self.feeder.stop()
        if self.injector is not None:
            self.injector.stop()
        if self.surfaces is not None:
            self.surfaces.close()
        self.all.set_state(Gst.State.NULL)
        self.stamping.remove()


def _set_up_decoder(_pipeline: Any, chooser: Any, element: Any) -> None:
    """Give an automatically chosen decoder what suits it."""
    factory = element.get_factory()
    if factory is None:
        return
    jpeg = _offers_jpeg(chooser)
    for name, value in decoder_settings(factory.get_name(), InstalledElements(), jpeg=jpeg).items():
        element.set_property(name, value)


def _offers_jpeg(chooser: Any) -> bool:
    """Whether JPEG waits for a decoder in this bin; one that was just added is linked later."""
    for element in chooser.children:
        for pad in element.srcpads:
            caps = None if pad.is_linked() else pad.get_current_caps()
            if caps is not None and caps.get_structure(0).get_name() == "image/jpeg":
                return True
    return False


def pull_matching(sink: Any, pts_ns: int | None) -> Any | None:
    """The buffer with just this presentation time that waits in an appsink; earlier ones go."""
    while (sample := sink.try_pull_sample(0)) is not None:
        buffer = sample.get_buffer()
        if presentation_time(buffer) == pts_ns:
            return buffer
    return None


def _inject(pipeline: Any, opening: FaultOpening) -> FaultInjector:
    # Imported here: the class is an element of its own and costs every start-up.
    from edge_runtime.sources.fault_element import FaultInjector

    return FaultInjector(pipeline, opening)
