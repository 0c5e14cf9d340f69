// The benchmark of a CUDA driver: one program, run with one library or another in the place of libcuda.so.1.
//   list KIND          the names of a kind: kernels or api
//   load               for each PTX of the suite the time from its text to the end of its kernels' first launches, a JSON
//                      line each
//   serve              takes commands from its input, one a line, and answers each by one JSON line:
//                        take KIND NAME   makes a subject: results are computed once and checked
//                        time             times it for one turn
//                        quit
//   once KIND          takes and times each of a kind, one line each
// Flags before it: --tiny (sizes for devices that are no GPU), --ptx FOLDER (any number), --samples N, --sample-us N.
#include "bench.h"

#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

std::string read_ptx(const Options& options, const std::string& module) {
    for (const std::string& folder : options.folders) {
        std::ifstream file(folder + "/" + module + ".ptx", std::ios::binary);
        if (file) return std::string(std::istreambuf_iterator<char>(file), {});
    }
    std::fprintf(stderr, "no %s.ptx in the folders that --ptx names\n", module.c_str());
    std::exit(1);
}

static std::vector<std::string> names(const std::string& kind) {
    if (kind == "api") return api_names();
    if (kind != "kernels") {
        std::fprintf(stderr, "there is no kind `%s`; there are kernels and api\n", kind.c_str());
        std::exit(1);
    }
    std::vector<std::string> all;
    for (const Kernel& kernel : kernels) all.push_back(kernel.name);
    return all;
}

static std::unique_ptr<Subject> take(const Options& options, const std::string& kind, const std::string& name) {
    if (kind == "api") return api_subject(options, name);
    for (const Kernel& kernel : kernels)
        if (name == kernel.name) return kernel_subject(options, kernel);
    std::fprintf(stderr, "there is no kernel `%s`\n", name.c_str());
    std::exit(1);
}

static void print_turn(Subject& subject, const Options& options) {
    std::printf("{\"us\": [");
    for (int i = 0; i < options.samples; ++i) std::printf("%s%.4f", i ? ", " : "", subject.sample());
    std::printf("]}\n");
    std::fflush(stdout);
}

// How often a subject is stopped.
constexpr int PAUSES = 20;

static void print_pauses(Subject& subject) {
    std::printf("{\"us\": [");
    for (int i = 0; i < PAUSES; ++i) std::printf("%s%.1f", i ? ", " : "", subject.pause());
    std::printf("]}\n");
    std::fflush(stdout);
}

static void print_about(Subject& subject, const std::string& name) {
    std::printf("{\"name\": \"%s\"%s}\n", name.c_str(), subject.about().c_str());
    std::fflush(stdout);
}

static void serve(const Options& options) {
    std::unique_ptr<Subject> subject;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string command, kind, name;
        words >> command >> kind >> name;
        if (command == "take") {
            // The earlier one goes before there is another, so that their memory is not added up.
            subject.reset();
            subject = take(options, kind, name);
            print_about(*subject, name);
        } else if (command == "time" && subject) {
            print_turn(*subject, options);
        } else if (command == "pause" && subject) {
            print_pauses(*subject);
        } else {
            return;
        }
    }
}

int main(int count, char** words) {
    Options options;
    int at = 1;
    for (; at < count && !std::strncmp(words[at], "--", 2); ++at) {
        std::string flag = words[at];
        if (flag == "--tiny") options.full = false;
        else if (flag == "--ptx" && at + 1 < count) options.folders.push_back(words[++at]);
        else if (flag == "--samples" && at + 1 < count) options.samples = std::atoi(words[++at]);
        else if (flag == "--sample-us" && at + 1 < count) options.sample_us = std::atof(words[++at]);
        else {
            std::fprintf(stderr, "there is no flag %s, or its value is missing\n", words[at]);
            return 1;
        }
    }
    std::string command = at < count ? words[at] : "", kind = at + 1 < count ? words[at + 1] : "";
    if (command == "list") {
        for (const std::string& name : names(kind)) std::printf("%s\n", name.c_str());
        return 0;
    }
    CHECK(cuInit(0));
    CUdevice device;
    CUcontext context;
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    if (command == "serve") {
        char name[256];
        int version = 0;
        CHECK(cuDeviceGetName(name, sizeof name, device));
        CHECK(cuDriverGetVersion(&version));
        std::printf("{\"device\": \"%s\", \"version\": %d}\n", name, version);
        std::fflush(stdout);
        serve(options);
    } else if (command == "load") {
        time_loads(options);
    } else if (command == "once") {
        for (const std::string& name : names(kind)) {
            std::unique_ptr<Subject> subject = take(options, kind, name);
            print_about(*subject, name);
            print_turn(*subject, options);
        }
    } else {
        std::fprintf(stderr, "commands: list KIND, load, serve, once KIND\n");
        return 1;
    }
    CHECK(cuDevicePrimaryCtxRelease(device));
    return 0;
}
