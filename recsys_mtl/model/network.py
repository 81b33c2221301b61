"""The complete network: tables, inputs, experts, towers, cut at the pooled embeddings.

Shapes: B rows, P pooled embedding width, I inputs of the experts, T tasks, E experts a gate weighs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.columns.sequences import SequenceSpec
from recsys_mtl.columns.spec import DataSpec, TableSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.features.block import Bag, ItemIds, TableBlock
from recsys_mtl.features.inputs import InputModule
from recsys_mtl.features.registry import input_modules, tables_by_block
from recsys_mtl.losses import Candidates
from recsys_mtl.model.architecture import ArchitectureOutput, ArchitectureSpec
from recsys_mtl.model.architectures import architecture_of
from recsys_mtl.model.catalogues import Catalogues
from recsys_mtl.model.cut import Cut
from recsys_mtl.model.embeddings import TableOptimizer
from recsys_mtl.model.embeddings_backend import Backend, Sharding, make_embeddings
from recsys_mtl.model.funnel import Funnel
from recsys_mtl.model.gates import entropy
from recsys_mtl.model.members import Members
from recsys_mtl.model.network_spec import NetworkSpec
from recsys_mtl.model.sequences import SequenceEncoders
from recsys_mtl.model.towers import Towers
from recsys_mtl.tasks import kind_of

__all__ = ["MultiTaskNetwork", "NetworkSpec", "Outputs", "own_table"]


@dataclass(frozen=True)
class Outputs:
    """The output of the network for a batch.

    With k members, B is k times the rows of the batch while training, member by member; in
    evaluation mode `logits` and `gates` are those of all members together.

    Attributes:
        logits: task -> (B, outputs) float32: logits, values, or a unit query for retrieval.
        gates: task -> (B, E) float32 weights of the last level's gate, in the order of
            `MultiTaskNetwork.expert_names`; empty without gates.
        gate_entropy: scalar, mean entropy in nats over rows, tasks and levels; 0 without gates.
        entropy_penalty: scalar, −weight · gate_entropy.
        own_penalty: the architecture's, a mean over the rows by their weights; None: none.
        mixed: output of the experts.
        inputs: (B, I) input of the experts, where `by_task` is given.
        by_task: (T, B, I) copies of it for the gate and own experts of each task; None: all read
            the same.
        members: task -> (k, B, outputs) of each member, in evaluation mode; `logits` merge them.
        conditional: of tasks behind others, while training, see `Funnel.conditional`; their
            `logits` are those of all events together.
    """

    logits: dict[str, Tensor]
    gates: dict[str, Tensor]
    gate_entropy: Tensor
    entropy_penalty: Tensor
    own_penalty: Tensor | None
    mixed: ArchitectureOutput
    inputs: Tensor | None = None
    by_task: Tensor | None = None
    members: Mapping[str, Tensor] = field(default_factory=dict)
    conditional: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def penalty(self) -> Tensor:
        """Scalar to add to the loss."""
        own = self.own_penalty
        return self.entropy_penalty if own is None else self.entropy_penalty + own


class MultiTaskNetwork(nn.Module):
    """Embedding tables, PLE (or a relative) and a tower per task.

    Tables update themselves once per backward through `embed`; `cut` sends exactly one gradient
    into them.

    Args:
        data: the encoded columns and tasks.
        spec: the network's shape.
        backend: of the embedding tables.
        table_optimizer: fused into the tables' backward.
        table_learning_rate: of that optimizer.
        table_weight_decay: of that optimizer.
        sharding: of the tables over processes, where there are several; not with tasks whose items
            are rows of a table: their scores need all rows in one process.
        device: of all parameters; initial weights do not depend on it. Do not move the network
            afterwards: TorchRec's tables stay.

    Raises:
        UserError: unknown names in `preferred` or `logit_transfer`, a cycle, or an unavailable
            backend.
    """

    def __init__(
        self,
        data: DataSpec,
        spec: NetworkSpec,
        *,
        backend: Backend = "auto",
        table_optimizer: TableOptimizer = "rowwise_adagrad",
        table_learning_rate: float = 0.02,
        table_weight_decay: float = 0.0,
        sharding: Sharding = "replicated",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.tasks = tuple(data.tasks)
        self.task_names = tuple(task.name for task in data.tasks)
        self.gate_entropy_weight = spec.gate_entropy
        architecture = architecture_of(spec.architecture)
        self._own_tables = architecture.own_tables
        own = _tables_of_tasks(data) if architecture.own_tables else ()
        self.embeddings = make_embeddings(
            (*data.reads, *own, *(task.read for task in self.tasks if task.read)),
            backend=backend,
            optimizer=table_optimizer,
            learning_rate=table_learning_rate,
            weight_decay=table_weight_decay,
            sharding="replicated" if any(task.read for task in self.tasks) else sharding,
            device=device,
        )
        self.inputs = input_modules(data.features).to(device)
        self._reads = tables_by_block(data.features)
        self.sequences = SequenceEncoders(data).to(device)
        pooled = [read.pooling != "none" for read in data.reads]
        self._pooled_reads = [index for index, is_pooled in enumerate(pooled) if is_pooled]
        self.pooled_width = sum(data.reads[index].dim for index in self._pooled_reads)
        self.embedded_width = self.pooled_width + self.sequences.width
        self.in_features = self.embedded_width + sum(m.width for m in self._input_modules())
        widths = self._column_widths(data)
        self.members = Members(spec.members, widths).to(device)
        made_of = ArchitectureSpec(
            spec.experts(self.task_names),
            spec.levels,
            tuple(zip(self._column_names(data), itertools.chain(*widths), strict=True)),
            spec.groups,
        )
        self.ple = architecture.of(made_of, **spec.options).to(device)
        self.expert_names = self.ple.expert_names
        self.own_width = self.ple.own_width
        self.towers = Towers(
            data.tasks,
            self.ple.out_features,
            spec.tower_hidden,
            layers=spec.tower_layers,
            members=spec.members,
            transfer=spec.logit_transfer,
        ).to(device)
        self.funnel = Funnel(
            data.tasks,
            spec.imputed,
            self.ple.out_features,
            spec.tower_hidden,
            layers=spec.tower_layers,
            members=spec.members,
        ).to(device)
        self.catalogues = Catalogues(data.tasks, self.embeddings, device)
        self.items = self.catalogues.own

    @property
    def layouts_above(self) -> frozenset[str]:
        """Blocks of a batch that `forward_from` reads."""
        above = {layout for m in self._input_modules() for layout in m.layouts}
        return frozenset(above | {ItemIds.layout})

    def _input_modules(self) -> list[InputModule]:
        return [m for m in self.inputs.values() if isinstance(m, InputModule)]

    def _column_widths(self, data: DataSpec) -> list[Sequence[int]]:
        """Columns of each feature in the tensors of `_columns`."""
        pooled = [read.dim for read in data.reads if read.pooling != "none"]
        return [[*pooled, *self.sequences.widths], *(m.widths for m in self._input_modules())]

    def _column_names(self, data: DataSpec) -> list[str]:
        """The feature of each of these widths."""
        names = [read.name for read in data.reads if read.pooling != "none"]
        names += [feature.name for feature in data.features if isinstance(feature, SequenceSpec)]
        return names + [f.name for kind in self.inputs for f in data.features if f.kind == kind]

    def bags(self, batch: Batch) -> list[Bag]:
        """What each read of the tables looks up for a batch."""
        bags: list[Bag] = []
        for layout, names in self._reads:
            block = batch.blocks[layout]
            assert isinstance(block, TableBlock)
            bags += block.bags(names)
        if self._own_tables:
            bags += [bags[index] for index in self._pooled_reads] * len(self.tasks)
        return bags + self.catalogues.bags(batch)

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """The outputs of the tables: (B, P) pooled embeddings, and sequences as their encoders do.

        If tasks have tables of their own, then (B, T · P) of these. If items of tasks are rows of
        the tables, then the rows' items, last.

        Each backward pass through it is one update of the tables.
        """
        columns, entries = self.embeddings.with_sequences(self.bags(batch), batch.num_rows)
        apart = [len(self.tasks) * self.pooled_width * self._own_tables, self.catalogues.width]
        widths = [self.pooled_width, *filter(None, apart)]
        pooled, *others = torch.split(columns, widths, 1) if len(widths) > 1 else [columns]
        if self.sequences.widths:
            pooled = torch.cat([pooled, *self.sequences(pooled, entries, batch.blocks)], 1)
        return pooled, *others

    def shared_of(self, embedded: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of the outputs of `embed`, or of their leaves, that all tasks read."""
        return embedded[:1]

    def cut(self, batch: Batch) -> Cut:
        """The graph cut above `embed`."""
        return Cut(self.embed(batch))

    def inputs_of(self, embedded: Sequence[Tensor], batch: Batch) -> Tensor:
        """(B, I) the input of the experts.

        Args:
            embedded: of `embed`.
            batch: the rows.
        """
        return torch.cat(self._columns(embedded, batch), 1)

    def _columns(self, embedded: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        modules = self._input_modules()
        return [*self.shared_of(embedded), *(module(batch.blocks) for module in modules)]

    def forward_from(
        self, embedded: Sequence[Tensor], batch: Batch, *, by_task: bool = False
    ) -> Outputs:
        """The network above the cut.

        Args:
            embedded: of `embed`, or the leaves of a cut.
            batch: the rows.
            by_task: whether the gate and own experts of each task read their own copy of the
                inputs, for callers that need each task's gradient there.
        """
        columns, tasks = self._columns(embedded, batch), len(self.tasks)
        if not by_task:
            own = None
            if self._own_tables:
                tables = embedded[1].view(-1, tasks, self.pooled_width).transpose(0, 1)
                common = (columns[0][:, self.pooled_width :], *columns[1:])
                others = [column.expand(tasks, -1, -1) for column in common]
                own = _cast(self.members(torch.cat([tables, *others], -1)))
            x = self.members.of_columns([_cast(column) for column in columns])
            return self._outputs(self.ple(x, own), batch)
        copies = torch.cat([column.expand(tasks, -1, -1) for column in columns], -1)
        return self.from_inputs(torch.cat(columns, 1), copies, batch)

    def from_inputs(self, inputs: Tensor, by_task: Tensor, batch: Batch) -> Outputs:
        """The network above its inputs.

        Args:
            inputs: (B, I), see `inputs_of`.
            by_task: (T, B, I) the same, a copy for the gate and own experts of each task.
            batch: the rows.
        """
        inputs, by_task = self.members(inputs), self.members(by_task)
        outputs = self._outputs(self.ple(_cast(inputs), _cast(by_task)), batch)
        return replace(outputs, inputs=inputs, by_task=by_task)

    def _outputs(self, mixed: ArchitectureOutput, batch: Batch) -> Outputs:
        """The network above the experts."""
        gates: tuple[Tensor, ...] = mixed.weights[-1].unbind(0) if mixed.weights else ()
        each = [entropy(level).mean() for level in mixed.weights]
        each = each or [mixed.tasks.new_zeros((), dtype=torch.float32)]
        mean_entropy = each[0] if len(each) == 1 else torch.stack(each).mean()
        of_towers = self.towers(mixed.tasks)
        logits = self.funnel(of_towers)
        own_penalty = None
        if self.training:
            own_penalty = self.ple.penalty(logits, self.members.weights(batch.weights))
        members: dict[str, Tensor] = {}
        if not self.training and self.members.count > 1:
            members = {task: self.members.split(own) for task, own in logits.items()}
            logits = {t.name: kind_of(t.kind).merged(members[t.name]) for t in self.tasks}
            gates = tuple(self.members.mean(weights) for weights in gates)
        return Outputs(
            logits=logits,
            gates=dict(zip(self.task_names, gates, strict=True)) if gates else {},
            gate_entropy=mean_entropy,
            entropy_penalty=-self.gate_entropy_weight * mean_entropy,
            own_penalty=own_penalty,
            mixed=mixed,
            members=members,
            conditional=self.funnel.conditional(of_towers, mixed.tasks) if self.training else {},
        )

    def forward(self, batch: Batch) -> Outputs:
        """`embed`, then `forward_from`."""
        return self.forward_from(self.embed(batch), batch)

    def candidates(self, embedded: Sequence[Tensor], batch: Batch) -> dict[str, Candidates]:
        """The items that compete in a batch, of each retrieval task.

        Args:
            embedded: of `embed`, or the leaves of a cut; the rows' items are read from it.
            batch: the rows.
        """
        return self.catalogues.candidates(embedded[-1], batch)

    def item_vectors(self, task: str) -> Tensor:
        """(items, dim) unit vectors of a retrieval task; item 0 stands for unknown items."""
        return F.normalize(self.catalogues.table(task), dim=-1)

    def scorer(self, task: str) -> Callable[[Tensor], Tensor]:
        """From (B, dim) unit queries to (B, items) cosine similarities, in float32."""
        items = self.item_vectors(task).T

        def scores(query: Tensor) -> Tensor:
            with torch.autocast(query.device.type, enabled=False):
                return query.float() @ items

        return scores

    def scores(self, task: str, query: Tensor) -> Tensor:
        """(B, dim) unit queries to (B, items) cosine similarities, in float32."""
        return self.scorer(task)(query)

    def dense_parameters(self) -> list[nn.Parameter]:
        """All parameters except the tables, which have a separate optimizer."""
        modules = (self.inputs, self.sequences, self.members, self.ple, self.towers)
        parts = (*modules, self.funnel, self.items)
        return [parameter for part in parts for parameter in part.parameters()]

    def shared_parameters(self) -> list[tuple[str, str, nn.Parameter, int | None]]:
        """(name, expert, parameter, index on its dim 0) of what all tasks share.

        Without the tables, which are below the cut.
        """
        return [*self.ple.shared_parameters(), *self.input_parameters()]

    def input_parameters(self) -> list[tuple[str, str, nn.Parameter, None]]:
        """The same between the cut and the experts: a group is a kind of feature, or `members`."""
        parts = [(f"inputs.{kind}", module) for kind, module in self.inputs.items()]
        return [
            (f"{group}.{name}", group, parameter, None)
            for group, module in [*parts, ("members", self.members)]
            for name, parameter in module.named_parameters()
        ]

    def last_shared_parameters(self) -> list[tuple[nn.Parameter, int]]:
        """(parameter, index on its dim 0) of the last layer of every last shared expert."""
        return self.ple.last_shared_parameters()

    def shared_expert_parameters(self) -> list[list[tuple[nn.Parameter, int]]]:
        """(parameter, index on its dim 0) of each shared expert, level by level, in order."""
        return self.ple.shared_expert_parameters()

    @property
    def tasks_are_separable(self) -> bool:
        """Whether each task's loss depends on the layers below through its own mixture alone."""
        return self.ple.mixes_once and not self.towers.transfers and not self.funnel.chains

    def shared_weights(self, mixed: ArchitectureOutput) -> Tensor:
        """(T, B, S) gradient weights of each task's mixture into the shared experts, off the graph.

        The weights of the last level's gates, times `scale_shared_gradients`' factors if set.
        """
        assert mixed.common is not None
        experts, rows, _ = mixed.common.shape
        size = len(self.task_names), rows, experts  # without gates there are no own experts
        weights = mixed.tasks.new_full(size, 1 / experts, dtype=torch.float32)
        if mixed.weights:
            weights = mixed.weights[-1][..., -experts:].detach()
        factors = self.ple.shared_factors
        return weights if factors is None else weights * factors.unsqueeze(1)


def own_table(table: str, task: str) -> str:
    """Name of a task's own copy of a table."""
    return f"{table}@{task}"


def _tables_of_tasks(data: DataSpec) -> list[TableSpec]:
    """The reads of a copy of every pooled table for each task, task by task."""
    return [
        replace(read, name=own_table(read.name, task.name), table=own_table(read.key, task.name))
        for task in data.tasks
        for read in data.reads
        if read.pooling != "none"
    ]


def _cast(x: Tensor) -> Tensor:
    """Inputs in the experts' precision: cast once under autocast, not once per expert."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
