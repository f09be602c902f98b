"""Planning over HTTP: the sample counts that a draft policy needs."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.api.fields import In, Line, Out
from app.api.policies import PolicyIn
from app.domain.errors import ForbiddenError, InvalidPolicyError
from app.domain.governance.plans import Assumptions
from app.http.bodies import JsonBody
from app.http.deps import Caller, SessionsDep
from app.http.problems import refuses
from app.http.role_checks import needs_work
from app.services.governance import policies

router = APIRouter(prefix="/policies", tags=["policies"])

Better = Annotated[float, Field(ge=0.005, le=1e6, allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]


class PlanIn(In):
    """A draft policy, and assumptions about the system under test."""

    policy: PolicyIn
    better_by: Better = Field(
        default=0.05, description="Distance of the true value from each limit, on the passing side."
    )
    better_by_of: dict[Line, Better] = Field(
        default={}, max_length=64, description="`better_by` by suite/metric, in the metric's unit."
    )
    discordance: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of samples on which the system differs from its comparison.",
    )
    standard_deviations: dict[Line, Deviation] = Field(
        default={},
        max_length=64,
        description="Standard deviation of one sample of a mean, by suite/metric.",
    )

    def assumed(self, metric: str) -> Assumptions:
        return Assumptions(
            better_by=self.better_by_of.get(metric, self.better_by),
            discordance=self.discordance,
            standard_deviation=self.standard_deviations.get(metric),
        )


class NeededOut(Out):
    power: float
    samples: int


class DemandPlanOut(Out):
    rule: str
    demand: str
    limit: float
    cells: int
    fewest: int = Field(description="The least count with which perfect evidence would pass.")
    needed: list[NeededOut]
    message: str


class PlanOut(Out):
    demands: list[DemandPlanOut]


@router.post(
    "/plan",
    dependencies=[needs_work()],
    responses=refuses(ForbiddenError, InvalidPolicyError),
)
def plan_policy(body: JsonBody[PlanIn], sessions: SessionsDep, caller: Caller) -> PlanOut:
    """Return the samples a cell needs to pass with power 0.8 and 0.9. Nothing is stored."""
    plans = policies.plan(
        sessions, policy=body.policy.policy(), assumed=body.assumed, caller=caller
    )
    return PlanOut(demands=[DemandPlanOut.model_validate(plan) for plan in plans])
