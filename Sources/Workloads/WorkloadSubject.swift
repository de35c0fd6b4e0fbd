/// What can be timed, by subject.
public enum WorkloadSubject: String, Sendable, CaseIterable {
    /// The operator, forward and backward, with every measure of similarity.
    case attention
    /// One query over a cache of keys and values.
    case decode
    /// Products of matrices.
    case gemm
    /// Products with quantised weights.
    case quantized
    /// Recurrent layers, forward.
    case recurrent
    /// Whole training steps.
    case train
    /// A language model: reading a prompt, and writing.
    case model
    /// An embedding model: texts of several lengths.
    case embed

    /// The work of the subject, the shapes that others are timed at first.
    public var workloads: [Workload] {
        switch self {
        case .attention: AttentionWorkload.all
        case .decode: DecodeWorkload.all
        case .gemm: MatrixProductWorkload.all
        case .quantized: QuantizedWorkload.all
        case .recurrent: RecurrentWorkload.all
        case .train: TrainingWorkload.all
        case .model: LanguageModelWorkload.all
        case .embed: EmbeddingWorkload.all
        }
    }
}
