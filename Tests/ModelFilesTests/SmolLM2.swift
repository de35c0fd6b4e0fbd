#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Where the real model's file is, if it is anywhere.
enum SmolLM2 {
    /// The file that `ATTENTION_SMOLLM2` names, or else the one in the user's cache.
    static let path =
        variable("ATTENTION_SMOLLM2") ?? "\(cache)/swift-attention/models/SmolLM2-135M-Instruct.Q4_1.gguf"

    /// Whether the tests of the real model run: where the file is, or where its absence is a failure.
    static let isTested = variable("ATTENTION_REQUIRE_MODELS") == "1" || access(path, R_OK) == 0

    /// The user's cache folder by the XDG rules, which ignore a relative path.
    private static let cache: String = {
        if let cache = variable("XDG_CACHE_HOME"), cache.hasPrefix("/") { return cache }
        return "\(variable("HOME") ?? "")/.cache"
    }()
}

/// Returns an environment variable that is neither absent nor empty.
func variable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
}
