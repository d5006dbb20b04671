/* origin: the backend of the benchmark. One thread, epoll, HTTP/1.1 with keep-alive.
 *
 * The text of a POST says how to answer it, so that the wish survives whatever is done to headers and body on the way:
 *     #json:BYTES#             JSON of that many bytes
 *     #sse:EVENTS:MS:BYTES#    a chunked stream of so many events of about that many bytes, one every MS milliseconds
 *                              (the second sooner), each with the time it was sent behind STAMP
 * GET anything answers with what has arrived so far: how many POSTs, in how many of them a bearer token, an assertion,
 * a user in the metadata, a cookie; and how many streams nobody read to their end.
 *
 * Listens on a free port of 127.0.0.1 and prints it. Trusts its callers: bodies come with a Content-Length, and fit.
 */
#include "common.h"

#define MAX_ANSWER 65536 /* bytes of a JSON answer */
#define MAX_EVENT 4096
#define MAX_REQUEST 65536
#define BACKLOG 4096

struct connection {
    int fd;
    char *in, *out; /* a request that is not whole yet; what the socket would not take */
    size_t in_length, in_size, out_start, out_length, out_size;
    /* The stream under way: */
    long left;
    unsigned long sent;
    int event_bytes;
    uint64_t due, interval;
    int place; /* in the queue, -1 without a stream */
};

static struct {
    unsigned long requests, bearer, assertion, user, cookie, aborted, events, connections;
} count;

static int epoll;

/* ---- The queue of streams, the next event first: a binary heap. ---- */

static struct connection **queue;
static int queued, queue_size;

static void put(int place, struct connection *c)
{
    queue[place] = c;
    c->place = place;
}

static void move_up(struct connection *c)
{
    int place = c->place;
    for (; place && queue[(place - 1) / 2]->due > c->due; place = (place - 1) / 2)
        put(place, queue[(place - 1) / 2]);
    put(place, c);
}

static void move_down(struct connection *c)
{
    int place = c->place, child;
    for (; (child = 2 * place + 1) < queued; place = child) {
        if (child + 1 < queued && queue[child + 1]->due < queue[child]->due)
            child++;
        if (queue[child]->due >= c->due)
            break;
        put(place, queue[child]);
    }
    put(place, c);
}

static void enqueue(struct connection *c)
{
    if (queued == queue_size)
        queue = grow(queue, (queue_size = queue_size * 2 + 64) * sizeof *queue);
    put(queued++, c);
    move_up(c);
}

static void dequeue(struct connection *c)
{
    c->due = 0;
    move_up(c);
    struct connection *last = queue[--queued];
    c->place = -1;
    if (last != c) {
        put(0, last);
        move_down(last);
    }
}

/* ---- Writing. Functions that write return whether the connection is still there. ---- */

static bool write_out(struct connection *c, const char *data, size_t length)
{
    if (!c->out_length) {
        ssize_t taken = send(c->fd, data, length, 0);
        if (taken < 0 && errno != EAGAIN)
            return false;
        if (taken == (ssize_t)length)
            return true;
        data += taken < 0 ? 0 : taken;
        length -= taken < 0 ? 0 : taken;
        watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
    }
    if (c->out_start + c->out_length + length > c->out_size)
        c->out = grow(c->out, c->out_size = 2 * (c->out_start + c->out_length + length));
    memcpy(c->out + c->out_start + c->out_length, data, length);
    c->out_length += length;
    return true;
}

static bool write_rest(struct connection *c)
{
    ssize_t taken = send(c->fd, c->out + c->out_start, c->out_length, 0);
    if (taken < 0)
        return errno == EAGAIN;
    c->out_start += taken;
    c->out_length -= taken;
    if (!c->out_length) {
        c->out_start = 0;
        watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    }
    return true;
}

/* ---- Answers ---- */

static void fill(char *room, long bytes)
{
    static const char words[] = "and then she said that it would be fine ";
    for (long i = 0; i < bytes; i++)
        room[i] = words[i % (sizeof words - 1)];
}

static bool answer_json(struct connection *c, long bytes)
{
    static char answer[MAX_ANSWER + 256];
    static const char begin[] = "{\"data\":[],\"has_more\":false,\"after\":\"", end[] = "\"}";
    long fixed = sizeof begin + sizeof end - 2;
    bytes = bytes < fixed ? fixed : bytes > MAX_ANSWER ? MAX_ANSWER : bytes;
    char *at = answer + sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                        "Content-Length: %ld\r\n\r\n%s", bytes, begin);
    fill(at, bytes - fixed);
    at = stpcpy(at + bytes - fixed, end);
    return write_out(c, answer, at - answer);
}

static bool answer_counts(struct connection *c)
{
    char answer[1024], body[512];
    int length = sprintf(body, "{\"requests\":%lu,\"bearer\":%lu,\"assertion\":%lu,\"user\":%lu,\"cookie\":%lu,"
                               "\"aborted\":%lu,\"events\":%lu,\"connections\":%lu,\"cpu\":%.2f}",
                         count.requests, count.bearer, count.assertion, count.user, count.cookie, count.aborted,
                         count.events, count.connections, cpu_seconds());
    return write_out(c, answer, sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                                "Content-Length: %d\r\n\r\n%s", length, body));
}

static bool start_stream(struct connection *c, long events, long interval, int bytes)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    c->left = events;
    c->sent = 0;
    c->interval = interval * MILLISECOND;
    c->event_bytes = bytes < MAX_EVENT ? bytes : MAX_EVENT;
    c->due = now();
    enqueue(c);
    return write_out(c, head, sizeof head - 1);
}

static bool write_event(struct connection *c)
{
    char chunk[MAX_EVENT + 512], event[MAX_EVENT + 256];
    static const char end[] = "\"}}\n\n";
    int length = sprintf(event, "data: {\"type\":\"thread.item.updated\",\"item_id\":\"msg_%06lu\",\"update\":{\"type\":"
                                "\"assistant_message.content_part.text_delta\",\"content_index\":0," STAMP "%llu ",
                         c->sent++, (unsigned long long)now());
    long padding = c->event_bytes - length - (long)(sizeof end - 1);
    if (padding > 0) {
        fill(event + length, padding);
        length += padding;
    }
    length = stpcpy(event + length, end) - event;
    char *at = chunk + sprintf(chunk, "%x\r\n", length);
    at = mempcpy(at, event, length);
    at = mempcpy(at, "\r\n", 2);
    count.events++;
    return write_out(c, chunk, at - chunk);
}

/* ---- Requests ---- */

struct request {
    size_t length; /* of head and body */
    bool post, bearer, assertion, cookie;
};

static struct request read_head(const char *head, const char *body)
{
    struct request request = {.length = body - head, .post = !strncmp(head, "POST ", 5)};
    for (const char *line = head; line < body; line = (char *)memchr(line, '\n', body - line) + 1) {
        if (!strncasecmp(line, "content-length:", 15))
            request.length += strtoul(line + 15, NULL, 10);
        else if (!strncasecmp(line, "authorization: bearer ", 22))
            request.bearer = true;
        else if (!strncasecmp(line, "x-gateway-assertion: ", 21))
            request.assertion = true;
        else if (!strncasecmp(line, "cookie:", 7))
            request.cookie = true;
    }
    return request;
}

static bool answer(struct connection *c, const struct request *request, const char *body, size_t length)
{
    long events, interval, bytes = 1024;
    int event_bytes;
    const char *wish;
    if (!request->post)
        return answer_counts(c);
    count.requests++;
    count.bearer += request->bearer;
    count.assertion += request->assertion;
    count.cookie += request->cookie;
    count.user += memmem(body, length, "\"userId\":\"", 10) != NULL;
    wish = memmem(body, length, "#sse:", 5);
    if (wish && sscanf(wish, "#sse:%ld:%ld:%d#", &events, &interval, &event_bytes) == 3)
        return start_stream(c, events, interval, event_bytes);
    wish = memmem(body, length, "#json:", 6);
    if (wish)
        sscanf(wish, "#json:%ld#", &bytes);
    return answer_json(c, bytes);
}

/* Answers what has arrived whole, one request after another. */
static bool serve(struct connection *c)
{
    while (c->in_length && c->place < 0) {
        char *blank = memmem(c->in, c->in_length, "\r\n\r\n", 4);
        if (!blank)
            return c->in_length < MAX_REQUEST;
        char *body = blank + 4;
        struct request request = read_head(c->in, body);
        if (c->in_length < request.length)
            return request.length < MAX_REQUEST;
        if (!answer(c, &request, body, request.length - (body - c->in)))
            return false;
        c->in_length -= request.length;
        memmove(c->in, c->in + request.length, c->in_length);
    }
    return true;
}

static bool receive(struct connection *c)
{
    if (c->in_size - c->in_length < 4096)
        c->in = grow(c->in, c->in_size = c->in_length + 8192);
    ssize_t got = recv(c->fd, c->in + c->in_length, c->in_size - c->in_length, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    c->in_length += got;
    return serve(c);
}

/* ---- Connections ---- */

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *c = grow(NULL, sizeof *c);
        *c = (struct connection){.fd = fd, .place = -1};
        send_at_once(fd);
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
        count.connections++;
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        give_up("accept");
}

static void drop(struct connection *c)
{
    if (c->place >= 0) {
        dequeue(c);
        count.aborted++;
    }
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}

static void handle(struct connection *c, uint32_t events)
{
    bool there = !(events & EPOLLOUT) || write_rest(c);
    if (there && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        there = receive(c);
    if (!there)
        drop(c);
}

static void send_event(struct connection *c)
{
    bool there = write_event(c);
    if (there && --c->left > 0) {
        /* The second comes at random, or streams that began in step would stay in step. */
        c->due += c->sent == 1 ? c->interval * (rand() / (RAND_MAX + 1.0)) : c->interval;
        move_down(c);
        return;
    }
    if (there) {
        dequeue(c);
        there = write_out(c, "0\r\n\r\n", 5) && serve(c);
    }
    if (!there)
        drop(c);
}

int main(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    settle_in();
    if (bind(listener, (void *)&address, length) || listen(listener, BACKLOG))
        give_up("listen");
    getsockname(listener, (void *)&address, &length);
    epoll = epoll_create1(0);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[BATCH];
        int ready = wait_until(epoll, queued ? queue[0]->due : now() + SECOND, events);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr)
                handle(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
        /* As many as were due when this began: sockets get their turn again, however far behind it is. */
        uint64_t time = now();
        while (queued && queue[0]->due <= time)
            send_event(queue[0]);
    }
}
