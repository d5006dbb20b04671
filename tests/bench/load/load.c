/* load: sends prepared requests, reads the answers, times both. One thread, epoll.
 *
 *     load -p PORT -q FILE -c CONNECTIONS [-a RAMP] [-w WARM] [-t TIME] [-l LIMIT] [-n EVENTS] [-d LATE] [-o 1] [-m 1]
 *
 *     FILE         requests as they go out, each behind a line with its length. A connection sends one of them again
 *                  and again, the next connection the next: each is one user's, as from a browser
 *     RAMP         milliseconds over which the connections are opened
 *     WARM, TIME   milliseconds: what happens between WARM and WARM + TIME is timed; what fails always counts
 *     LIMIT        milliseconds after which what is still open has failed
 *     EVENTS       stamped events of a whole answer; 0: it is no stream
 *     LATE         milliseconds after which an event is late
 *     -o 1         each connection asks once, instead of again and again until WARM + TIME
 *     -m 1         mixed: what is sent next is the next of FILE, on whatever connection, as from a proxy
 *
 * Prints one JSON object; times in it are microseconds. An event's time is from the stamp in it, put there when it was
 * sent, until its last byte is here; the first byte's and the whole answer's are from when the request was sent.
 */
#include "common.h"

#define MAX_HEAD 4096
#define READ_SIZE 65536

/* Where in an answer we are. BODY is one of a known length. */
enum state { CONNECTING, HEAD, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, DONE };

enum progress { MORE, WHOLE, BROKEN };

struct connection {
    int fd, number, status;
    enum state state;
    uint64_t asked;
    bool begun;  /* the answer's body has */
    long left;   /* bytes of the body or the chunk */
    long line;   /* bytes of the trailer's line so far */
    long events; /* whole ones */
    /* The event under way: how much of STAMP has been matched, whether we are in the number, and the number. */
    int matched;
    bool stamping, line_end;
    uint64_t stamp;
    size_t head_length;
    char head[MAX_HEAD];
};

struct samples {
    float *values;
    size_t length, size;
};

static struct {
    int port, connections;
    uint64_t ramp, warm, time, limit, late;
    long events;
    bool once, mixed;
    const char *requests;
} option = {.connections = 1, .time = SECOND, .limit = 60 * SECOND, .late = SECOND};

static struct {
    unsigned long answers, events, timed_answers, timed_events, late;
    /* What failed: not connected; not 200; broken off, or not understood; other than the events asked for. */
    unsigned long unconnected, refused, broken, cut_short;
    int open, most_open; /* answers that have begun and not ended */
    int done, last_status;
} count;

static struct samples event_times, first_byte_times, answer_times;
static struct {
    char *data;
    size_t length;
} *requests;
static size_t request_count, next_request;
static uint64_t timed_from, timed_to;
static int epoll;

/* ---- Requests ---- */

static void read_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t length;
    if (!file)
        give_up(path);
    while (fscanf(file, "%zu", &length) == 1 && fgetc(file) == '\n') {
        requests = grow(requests, (request_count + 1) * sizeof *requests);
        requests[request_count].data = grow(NULL, length);
        requests[request_count].length = length;
        if (fread(requests[request_count++].data, 1, length, file) != length)
            give_up(path);
    }
    fclose(file);
    if (!request_count) {
        fprintf(stderr, "%s: no requests\n", path);
        exit(1);
    }
}

/* ---- Times ---- */

static bool is_timed(uint64_t time)
{
    return time >= timed_from && time <= timed_to;
}

static void add(struct samples *samples, uint64_t nanoseconds)
{
    if (samples->length == samples->size)
        samples->values = grow(samples->values, (samples->size = 2 * samples->size + 4096) * sizeof(float));
    samples->values[samples->length++] = nanoseconds / 1e3f;
}

static int compare(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *samples)
{
    size_t n = samples->length;
    float *values = samples->values;
    if (!n)
        return;
    qsort(values, n, sizeof *values, compare);
    printf(",\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, values[n / 2], values[n * 9 / 10],
           values[n * 99 / 100], values[n - 1]);
}

/* ---- Connections ---- */

static void close_connection(struct connection *c)
{
    close(c->fd);
    count.done++;
    c->state = DONE;
}

static void open_connection(struct connection *c)
{
    struct sockaddr_in address = loopback(option.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        give_up("socket");
    send_at_once(c->fd);
    c->state = CONNECTING;
    c->begun = false;
    if (connect(c->fd, (void *)&address, sizeof address) && errno != EINPROGRESS) {
        count.unconnected++;
        close_connection(c);
        return;
    }
    watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, c);
}

static void ask(struct connection *c)
{
    size_t which = (option.mixed ? next_request++ : (size_t)c->number) % request_count;
    c->state = HEAD;
    c->head_length = 0;
    c->events = 0;
    c->begun = false;
    c->asked = now();
    /* The socket is empty and takes all of it. Where it is lost, so is the answer: that is when it is counted. */
    send(c->fd, requests[which].data, requests[which].length, 0);
}

static void start(struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        count.unconnected++;
        close_connection(c);
        return;
    }
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    ask(c);
}

static void finish(struct connection *c, bool whole, uint64_t time)
{
    bool good = false;
    count.open -= c->begun;
    if (!whole) {
        count.broken++;
    } else if (c->status != 200) {
        count.refused++;
        count.last_status = c->status;
    } else if (c->events != option.events) {
        count.cut_short++;
    } else {
        good = true;
        count.answers++;
    }
    if (good && is_timed(time)) {
        count.timed_answers++;
        add(&answer_times, time - c->asked);
    }
    bool again = !option.once && time < timed_to;
    if (again && whole) {
        ask(c);
        return;
    }
    close_connection(c);
    if (again) {
        count.done--;
        open_connection(c);
    }
}

/* ---- Answers ---- */

static void note_event(struct connection *c, uint64_t time)
{
    c->events++;
    count.events++;
    count.late += time - c->stamp > option.late;
    if (is_timed(time)) {
        count.timed_events++;
        add(&event_times, time - c->stamp);
    }
}

/* Byte by byte: an event may come in any number of pieces. It counts when the empty line behind it is here. */
static void read_events(struct connection *c, const char *data, size_t length, uint64_t time)
{
    for (const char *end = data + length; data < end; data++) {
        if (c->stamping && *data >= '0' && *data <= '9') {
            c->stamp = c->stamp * 10 + (*data - '0');
        } else if (*data == STAMP[c->matched]) {
            c->stamping = !STAMP[++c->matched];
            c->matched = c->stamping ? 0 : c->matched;
        } else {
            c->stamping = false;
            c->matched = *data == STAMP[0];
        }
        if (*data == '\n' && c->line_end && c->stamp) {
            note_event(c, time);
            c->stamp = 0;
        }
        c->line_end = *data == '\n';
    }
}

static void read_text(struct connection *c, const char *data, size_t length, uint64_t time)
{
    if (!c->begun && is_timed(time))
        add(&first_byte_times, time - c->asked);
    if (!c->begun && ++count.open > count.most_open)
        count.most_open = count.open;
    c->begun = true;
    if (option.events)
        read_events(c, data, length, time);
}

static enum progress read_chunk_size(struct connection *c, char byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = strchr(digits, byte >= 'A' && byte <= 'F' ? byte + 'a' - 'A' : byte);
    if (byte == '\n') {
        c->state = c->left ? CHUNK : TRAILER;
        c->line = 0;
    } else if (byte && digit) {
        c->left = c->left * 16 + (digit - digits);
    } else if (byte != '\r') {
        return BROKEN;
    }
    return MORE;
}

static enum progress read_body(struct connection *c, const char *data, size_t length, uint64_t time)
{
    enum progress progress = MORE;
    while (length && progress == MORE) {
        if (c->state == BODY || c->state == CHUNK) {
            size_t part = length < (size_t)c->left ? length : (size_t)c->left;
            read_text(c, data, part, time);
            data += part;
            length -= part;
            c->left -= part;
            if (!c->left && c->state == BODY)
                progress = WHOLE;
            else if (!c->left)
                c->state = CHUNK_END;
            continue;
        }
        char byte = *data++;
        length--;
        if (c->state == CHUNK_SIZE)
            progress = read_chunk_size(c, byte);
        else if (c->state == CHUNK_END && byte == '\n')
            c->state = CHUNK_SIZE;
        else if (c->state == TRAILER && byte == '\n' && !c->line)
            progress = WHOLE;
        else if (c->state == TRAILER)
            c->line = byte == '\n' ? 0 : c->line + (byte != '\r');
    }
    return length ? BROKEN : progress; /* we ask one thing at a time: nothing comes behind an answer */
}

static enum progress read_head(struct connection *c, const char *data, size_t length, uint64_t time)
{
    size_t before = c->head_length, room = MAX_HEAD - 1 - before, part = length < room ? length : room;
    memcpy(c->head + before, data, part);
    c->head_length += part;
    c->head[c->head_length] = 0;
    char *blank = strstr(c->head, "\r\n\r\n");
    if (!blank)
        return part < length ? BROKEN : MORE;
    blank[2] = 0;
    char *sized = strcasestr(c->head, "\ncontent-length:");
    c->status = atoi(c->head + strlen("HTTP/1.1 "));
    c->left = sized ? atol(strchr(sized, ':') + 1) : 0;
    if (strcasestr(c->head, "\ntransfer-encoding: chunked"))
        c->state = CHUNK_SIZE;
    else if (c->left > 0)
        c->state = BODY;
    else
        return sized ? WHOLE : BROKEN;
    size_t used = blank + 4 - c->head - before;
    return read_body(c, data + used, length - used, time);
}

static void receive(struct connection *c)
{
    static char data[READ_SIZE];
    ssize_t got = recv(c->fd, data, sizeof data, 0);
    uint64_t time = now();
    enum progress progress = BROKEN;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        progress = c->state == HEAD ? read_head(c, data, got, time) : read_body(c, data, got, time);
    if (progress != MORE)
        finish(c, progress == WHOLE, time);
}

/* ---- The run ---- */

static void read_options(int words, char **word)
{
    for (int letter; (letter = getopt(words, word, "p:q:c:a:w:t:l:n:d:o:m:")) != -1;) {
        uint64_t milliseconds = optarg ? strtoull(optarg, NULL, 10) * MILLISECOND : 0;
        switch (letter) {
        case 'p': option.port = atoi(optarg); break;
        case 'q': option.requests = optarg; break;
        case 'c': option.connections = atoi(optarg); break;
        case 'a': option.ramp = milliseconds; break;
        case 'w': option.warm = milliseconds; break;
        case 't': option.time = milliseconds; break;
        case 'l': option.limit = milliseconds; break;
        case 'n': option.events = atol(optarg); break;
        case 'd': option.late = milliseconds; break;
        case 'o': option.once = atoi(optarg); break;
        case 'm': option.mixed = atoi(optarg); break;
        default: exit(2);
        }
    }
    if (!option.port || !option.requests || option.connections < 1) {
        fprintf(stderr, "load: -p PORT, -q FILE and -c CONNECTIONS are needed\n");
        exit(2);
    }
}

static void run(struct connection *all)
{
    struct epoll_event events[BATCH];
    uint64_t begin = now(), end = begin + option.limit, time;
    int begun = 0;
    timed_from = begin + option.warm;
    timed_to = timed_from + option.time;
    while (count.done < option.connections && (time = now()) < end) {
        uint64_t due;
        while ((due = begin + option.ramp * begun / option.connections) <= time && begun < option.connections) {
            all[begun].number = begun;
            open_connection(&all[begun++]);
        }
        int ready = wait_until(epoll, begun < option.connections ? due : end, events);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state == CONNECTING)
                start(c);
            else
                receive(c);
        }
    }
}

int main(int words, char **word)
{
    read_options(words, word);
    settle_in();
    read_requests(option.requests);
    epoll = epoll_create1(0);
    struct connection *all = calloc(option.connections, sizeof *all);
    if (!all)
        give_up("memory");
    run(all);
    double seconds = (double)option.time / SECOND;
    printf("{\"answers\":%lu,\"events\":%lu,\"answers_per_second\":%.1f,\"events_per_second\":%.1f,\"late\":%lu,"
           "\"unconnected\":%lu,\"refused\":%lu,\"last_status\":%d,\"broken\":%lu,\"cut_short\":%lu,\"unfinished\":%d,"
           "\"most_open\":%d,\"cpu\":%.2f",
           count.answers, count.events, count.timed_answers / seconds, count.timed_events / seconds, count.late,
           count.unconnected, count.refused, count.last_status, count.broken, count.cut_short,
           option.connections - count.done, count.most_open, cpu_seconds());
    print_samples("event", &event_times);
    print_samples("first_byte", &first_byte_times);
    print_samples("answer", &answer_times);
    printf("}\n");
    return 0;
}
